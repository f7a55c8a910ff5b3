"""The release's fine-tuning (spec 4.3 to 4.5) with our model and our Adam, against finetune_fp64.

The release has one matrix for tokens, special tokens and positions. Here that is a vocabulary of
all those rows: the position rows are added as token types, and our own positions stay zero.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hashed
from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig, OptimizerConfig, ScheduleConfig
from gpt1.model.transformer import Transformer
from gpt1.training import optimizers, schedules

SHAPE = ModelConfig(vocab_size=65, n_ctx=12, n_embd=24, n_layer=2, n_head=3)
AMPLITUDE = 0.25
CLASSIFY, FIRST_POSITION = 52, 53


class Release(nn.Module):
    """The model with the release's head: one number a choice."""

    def __init__(self) -> None:
        super().__init__()
        state = {}
        names = {theirs: ours for ours, theirs in huggingface.names(SHAPE.n_layer).items()}
        shapes = huggingface.shapes(SHAPE)
        shapes.pop("positions_embed.weight")
        for t, (name, shape) in enumerate(shapes.items()):
            value = hashed.tensor(t, name, shape, AMPLITUDE)
            turned = name.startswith("h.") and value.dim() == 2
            state[names[name]] = (value.t() if turned else value).contiguous()
        state["positions.weight"] = torch.zeros(SHAPE.n_ctx, SHAPE.n_embd, dtype=torch.float64)
        self.model = Transformer(SHAPE).double().eval()
        self.model.load_state_dict(state)
        self.model.positions.weight.requires_grad_(False)
        count = len(shapes)
        self.w = nn.Parameter(hashed.tensor(count, "clf.w", (SHAPE.n_embd, 1), AMPLITUDE))
        self.b = nn.Parameter(hashed.tensor(count + 1, "clf.b", (1,), AMPLITUDE))

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the choices' logits (N, K) and the LM loss of each sequence (N * K,)."""
        rows = ids.flatten(0, 1)  # (N * K, T)
        positions = torch.arange(FIRST_POSITION, SHAPE.vocab_size).expand_as(rows)
        out = self.model(rows, token_type_ids=positions, output_hidden_states=True)
        assert out.hidden_states is not None
        nll = F.cross_entropy(
            out.logits[:, :-1].flatten(0, 1), rows[:, 1:].flatten(), reduction="none"
        ).view(len(rows), -1)
        weights = mask.flatten(0, 1)[:, 1:]
        lm = (nll * weights).sum(1) / weights.sum(1)
        extract = (rows == CLASSIFY).int().argmax(1)
        states = out.hidden_states[-1][torch.arange(len(rows)), extract]
        return (states @ self.w + self.b).view(ids.shape[:2]), lm


@pytest.fixture
def vector(model_vectors: dict[str, Any]) -> dict[str, Any]:
    return model_vectors["finetune_fp64"]


def total(release: Release, vector: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the loss with lambda 0.5, the logits, and the losses of both terms."""
    ids = torch.tensor(vector["X_tokens"])
    logits, lm = release(ids, torch.tensor(vector["mask"], dtype=torch.float64))
    clf = F.cross_entropy(logits, torch.tensor(vector["labels"]), reduction="none")
    return clf.mean() + 0.5 * lm.mean(), logits, clf, lm


def test_logits_and_both_losses_match(vector: dict[str, Any]) -> None:
    loss, logits, clf, lm = total(Release(), vector)
    for found, expected in zip(logits.tolist(), vector["clf_logits"], strict=True):
        assert found == pytest.approx(expected, rel=1e-9)
    assert clf.tolist() == pytest.approx(vector["clf_losses"], rel=1e-9)
    assert lm.tolist() == pytest.approx(vector["lm_losses"], rel=1e-9)
    assert loss.item() == pytest.approx(vector["total_lambda_0.5"], rel=1e-9)


def test_four_updates_of_the_releases_adam_match(vector: dict[str, Any]) -> None:
    release, begin = Release(), Release()
    config = OptimizerConfig(lr=6.25e-5, weight_decay=0.01, max_grad_norm=1.0)
    schedule = ScheduleConfig(name="warmup_linear", warmup_share=0.002, count_from=0)
    optimizer = optimizers.build(release, config)
    for update, expected in enumerate(vector["adam_4_updates"]["log"]):
        optimizer.zero_grad()
        loss = total(release, vector)[0]
        loss.backward()
        norm = optimizers.clip(release.parameters(), config.max_grad_norm)
        factor = schedules.factor(schedule, update, 138)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * factor
        optimizer.step()
        assert loss.item() == pytest.approx(expected["loss_before"], rel=1e-9)
        assert norm == pytest.approx(expected["grad_norm"], rel=1e-9)
        assert factor == pytest.approx(expected["schedule_factor"], abs=1e-11)
    after = vector["adam_4_updates"]
    assert total(release, vector)[0].item() == pytest.approx(after["final_loss"], rel=1e-9)
    moved = {
        "we": release.model.tokens.weight - begin.model.tokens.weight,
        "h0.attn.c_attn.weight": release.model.blocks[0].attention.qkv.weight
        - begin.model.blocks[0].attention.qkv.weight,
        "h1.mlp.c_proj.bias": release.model.blocks[1].mlp.proj.bias
        - begin.model.blocks[1].mlp.proj.bias,
        "h1.ln_2.weight": release.model.blocks[1].ln_2.weight - begin.model.blocks[1].ln_2.weight,
        "clf.w": release.w - begin.w,
        "clf.b": release.b - begin.b,
    }
    for name, expected in after["param_delta_sum"].items():
        assert moved[name].sum().item() == pytest.approx(expected, rel=1e-6, abs=1e-12), name
