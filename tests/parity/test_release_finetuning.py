"""`--recipe release` (spec 4.3 to 4.5) by the training loop's own parts, against finetune_fp64.

The release has one matrix for tokens, special tokens and positions, and pads what we pack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import hashed
from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig, RunConfig, load_run
from gpt1.model.heads import Head
from gpt1.model.transformer import Transformer
from gpt1.tasks.collate import Encoded, TaskBatch, TaskBatches, collate
from gpt1.tasks.kinds import Choice
from gpt1.training import objectives, schedules
from gpt1.training.step import Updater

DROPOUT = {"embd_pdrop": 0, "attn_pdrop": 0, "resid_pdrop": 0}
SHAPE = ModelConfig(vocab_size=53, n_ctx=12, n_embd=24, n_layer=2, n_head=3, **DROPOUT)
TASK = Choice(answers=2)
AMPLITUDE = 0.25


@pytest.fixture
def vector(model_vectors: dict[str, Any]) -> dict[str, Any]:
    return model_vectors["finetune_fp64"]


@pytest.fixture
def config() -> RunConfig:
    return load_run(recipe="release", overrides=["task.clf_pdrop=0"])


def release() -> Transformer:
    """Return the vector's model: the single matrix is rows of tokens, then rows of positions."""
    state = {}
    names = {theirs: ours for ours, theirs in huggingface.names(SHAPE.n_layer).items()}
    shapes = {**huggingface.shapes(SHAPE), "tokens_embed.weight": (65, SHAPE.n_embd)}
    shapes.pop("positions_embed.weight")
    for t, (name, shape) in enumerate(shapes.items()):
        value = hashed.tensor(t, name, shape, AMPLITUDE)
        turned = name.startswith("h.") and value.dim() == 2
        state[names[name]] = (value.t() if turned else value).contiguous()
    matrix = state["tokens.weight"]
    state["tokens.weight"], state["positions.weight"] = matrix[:53].clone(), matrix[53:].clone()
    state["head.weight"] = hashed.tensor(len(shapes), "clf.w", (SHAPE.n_embd, 1), AMPLITUDE).t()
    state["head.bias"] = hashed.tensor(len(shapes) + 1, "clf.b", (1,), AMPLITUDE)
    model = Transformer(SHAPE)
    model.head = Head(SHAPE.n_embd, 1, pdrop=0)
    model.double().load_state_dict(state)
    return model.eval()


def encoded(vector: dict[str, Any]) -> Encoded:
    """Return the vector's two examples of two choices, without their padding."""
    rows = [
        [id for id, real in zip(ids, mask, strict=True) if real]
        for example, masks in zip(vector["X_tokens"], vector["mask"], strict=True)
        for ids, mask in zip(example, masks, strict=True)
    ]
    flat = np.array([id for row in rows for id in (*row, 0)], np.uint32)
    lengths = np.array([len(row) for row in rows])
    offsets = np.cumsum([0, *lengths + 1])
    last = (lengths - 1).reshape(-1, 2)
    units = np.arange(len(last) + 1)
    return Encoded(
        TASK,
        flat,
        offsets,
        last,
        units,
        np.eye(2)[vector["labels"]],
        0,
        SHAPE.n_ctx,
        np.ones(len(last)),
    )


def terms(model: Transformer, batch: TaskBatch, config: RunConfig) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return objectives.supervised(TASK, config.task, SHAPE.n_ctx).sums(model, batch)


def test_logits_and_both_losses_match(vector: dict[str, Any], config: RunConfig) -> None:
    model, data = release(), encoded(vector)
    whole = terms(model, collate(data, [0, 1]), config)
    for found, expected in zip(whole["scores"].tolist(), vector["clf_logits"], strict=True):
        assert found == pytest.approx(expected, rel=1e-9)
    clf, lm = vector["clf_losses"], vector["lm_losses"]
    for i in range(2):
        alone = terms(model, collate(data, [i]), config)
        assert float(alone["task"]) == pytest.approx(clf[i], rel=1e-9)
        assert float(alone["lm"]) == pytest.approx(sum(lm[2 * i : 2 * i + 2]), rel=1e-9)
    total = whole["task"] / 2 + config.task.lm_coef * whole["lm"] / 4
    assert float(total) == pytest.approx(vector["total_lambda_0.5"], rel=1e-9)


def test_four_updates_of_the_recipe_match(vector: dict[str, Any], config: RunConfig) -> None:
    model, begin, data = release(), release(), encoded(vector)
    objective = objectives.supervised(TASK, config.task, SHAPE.n_ctx)
    updater = Updater(model, objective, config)
    batches = TaskBatches(data, 2, shuffle=False)
    for update, expected in enumerate(vector["adam_4_updates"]["log"]):
        factor = schedules.factor(config.schedule, update, 138)
        result = updater.update(batches.update(update), update, config.optimizer.lr * factor)
        assert result.loss == pytest.approx(expected["loss_before"], rel=1e-9)
        assert result.grad_norm == pytest.approx(expected["grad_norm"], rel=1e-9)
        assert factor == pytest.approx(expected["schedule_factor"], abs=1e-11)
    after = vector["adam_4_updates"]
    whole = terms(model.eval(), collate(data, [0, 1]), config)
    total = float(whole["task"] / 2 + config.task.lm_coef * whole["lm"] / 4)
    assert total == pytest.approx(after["final_loss"], rel=1e-9)

    def moved(name: str) -> float:
        return float((model.state_dict()[name] - begin.state_dict()[name]).sum())

    found = {
        "we": moved("tokens.weight") + moved("positions.weight"),
        "h0.attn.c_attn.weight": moved("blocks.0.attention.qkv.weight"),
        "h1.mlp.c_proj.bias": moved("blocks.1.mlp.proj.bias"),
        "h1.ln_2.weight": moved("blocks.1.ln_2.weight"),
        "clf.w": moved("head.weight"),
        "clf.b": moved("head.bias"),
    }
    assert found.keys() == after["param_delta_sum"].keys()
    for name, expected in after["param_delta_sum"].items():
        assert found[name] == pytest.approx(expected, rel=1e-6, abs=1e-12), name


def test_dropout_is_on_the_matrix_and_its_mask_at_the_head_is_shared(
    vector: dict[str, Any], config: RunConfig
) -> None:
    model, data = release(), encoded(vector)
    model.embd_drop.p = 0.5
    torch.manual_seed(0)
    rows = torch.cat([model.tokens.weight, model.positions.weight])
    dropped = model.train().embd_drop(rows)
    expected = model.hidden(
        torch.tensor(data.ids[:3].astype(np.int64))[None], embeddings=(dropped[:53], dropped[53:])
    )
    torch.manual_seed(0)
    batch = collate(data, [0, 1])
    seen = {}
    original = Transformer.hidden

    def watch(self: Transformer, *arguments: Any, **given: Any) -> torch.Tensor:
        seen.update(given)
        return original(self, *arguments, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transformer, "hidden", watch)
        terms(model, batch, config)
    assert torch.equal(seen["embeddings"][0], dropped[:53])
    assert torch.equal(seen["embeddings"][1], dropped[53:])
    assert expected.shape == (1, 3, SHAPE.n_embd)
    # and the LM logits are made with the same dropped matrix
    torch.manual_seed(0)
    found = terms(model.train(), batch, config)["lm"]
    torch.manual_seed(0)
    model.embd_drop(rows)  # the same numbers are drawn
    by_hand = 0.0
    for s in range(4):
        row = torch.tensor(data.ids[data.offsets[s] : data.offsets[s + 1] - 1].astype(np.int64))
        states = model.hidden(row[None], embeddings=(dropped[:53], dropped[53:]))[0]
        by_hand += float(F.cross_entropy(states[:-1] @ dropped.T, row[1:]).detach())
    assert float(found) == pytest.approx(by_hand, rel=1e-9)
    head = Head(8, 1, pdrop=0.5).train()
    torch.manual_seed(1)
    states = torch.ones(64, 2, 8)
    with torch.no_grad():
        shared, own = head(states, shared=True), head(states)
    assert torch.equal(shared[:, 0], shared[:, 1])
    assert not torch.equal(own[:, 0], own[:, 1])
