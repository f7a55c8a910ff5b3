"""The model against numbers that another implementation published (spec 10.1)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

import hashed
from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig
from gpt1.model.losses import linear_cross_entropy
from gpt1.model.transformer import Transformer
from tolerances import VECTORS

CONFIG = ModelConfig(vocab_size=50, n_ctx=16, n_embd=24, n_layer=2, n_head=3)
AMPLITUDE = 0.25


@pytest.fixture(scope="module")
def vectors(model_vectors: dict[str, Any]) -> dict[str, Any]:
    return model_vectors["tiny_fp64"]


@pytest.fixture(scope="module")
def model() -> Transformer:
    return hashed.model(CONFIG, AMPLITUDE, torch.float64)


@pytest.fixture(scope="module")
def ids(vectors: dict[str, Any]) -> Tensor:
    return torch.tensor(vectors["ids"])


def same(found: Tensor, expected: Any) -> None:
    assert_close(found, torch.tensor(expected, dtype=torch.float64), **VECTORS)


def test_the_hash_gives_the_published_numbers(model_vectors: dict[str, Any]) -> None:
    check = model_vectors["hash_check"]
    assert hashed.unit(0, 4).tolist() == check["t=0,i=0..3"]
    assert hashed.unit(5, 4).tolist() == check["t=5,i=0..3"]


def test_the_tensors_have_the_published_order_names_and_shapes(vectors: dict[str, Any]) -> None:
    ours = [
        [t, f"transformer.{name}", list(shape)]
        for t, (name, shape) in enumerate(huggingface.shapes(CONFIG).items())
    ]
    assert ours == vectors["tensor_order"]


def test_logits_loss_states_and_attentions_match(
    model: Transformer, ids: Tensor, vectors: dict[str, Any]
) -> None:
    out = model(ids, labels=ids, output_hidden_states=True, output_attentions=True)
    same(out.logits[0, 0, :8], vectors["logits_first_row_first8"])
    same(out.logits[0, -1], vectors["logits_last_row"])
    same(out.logits.sum(), vectors["logits_sum"])
    same(out.logits.abs().sum(), vectors["logits_abs_sum"])
    assert out.logits[0].argmax(-1).tolist() == vectors["argmax_per_position"]
    same(out.loss, vectors["loss"])
    sums = torch.stack([state.abs().sum() for state in out.hidden_states])
    same(sums, vectors["hidden_states_abs_sum_per_layer"])
    same(out.hidden_states[-1][0, -1], vectors["last_hidden_last_pos"])
    row = out.attentions[0][0, 0, 3]
    same(row, vectors["attn_layer0_head0_row3"])
    assert row[4:].tolist() == [0, 0, 0]  # nothing later
    labels = ids.clone()
    labels[:, :4] = -100
    same(model(ids, labels=labels).loss, vectors["loss_with_labels_first4_minus100"])
    types = torch.tensor(vectors["token_type_ids"]["tt"])
    logits = model(ids, token_type_ids=types).logits
    same(logits[0, -1, :8], vectors["token_type_ids"]["last_logits_first8"])


def test_padding_on_either_side_matches(model: Transformer, vectors: dict[str, Any]) -> None:
    padded = vectors["padded_right"]
    logits = model(torch.tensor(padded["ids"]), attention_mask=torch.tensor(padded["mask"])).logits
    same(logits[1, 2, :8], padded["row1_pos2_logits_first8"])
    same(model(torch.tensor([[7, 8, 9]])).logits[0, 2, :8], vectors["unpadded_pos2_logits_first8"])
    ids = torch.tensor([[0, 0, 0, 0, 7, 8, 9]])
    mask = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    shifted = torch.tensor([[0, 0, 0, 0, 0, 1, 2]])
    plain = model(ids, attention_mask=mask).logits
    moved = model(ids, attention_mask=mask, position_ids=shifted).logits
    same(plain[0, -1, :8], vectors["padded_left_default_positions_last_logits_first8"])
    same(moved[0, -1, :8], vectors["padded_left_position_ids_0_1_2_last_logits_first8"])


def test_the_gradient_norm_of_every_tensor_matches(ids: Tensor, vectors: dict[str, Any]) -> None:
    model = hashed.model(CONFIG, AMPLITUDE, torch.float64)
    loss = model(ids, labels=ids).loss
    assert loss is not None
    loss.backward()
    gradients = dict(model.named_parameters())
    total = 0.0
    for ours, theirs in huggingface.names(CONFIG.n_layer).items():
        gradient = gradients[ours].grad
        assert gradient is not None
        same(gradient.norm(), vectors["grad_norm_per_tensor"][f"transformer.{theirs}"])
        total += float(gradient.norm()) ** 2
    assert len(gradients) == len(vectors["grad_norm_per_tensor"])
    same(torch.tensor(math.sqrt(total), dtype=torch.float64), vectors["grad_global_norm"])


def test_the_greedy_continuation_matches(model: Transformer, vectors: dict[str, Any]) -> None:
    ids = torch.tensor(vectors["ids"])[:, :3]
    while ids.shape[1] < CONFIG.n_ctx:
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
    assert ids[0].tolist() == vectors["greedy_from_first3_to_16"]


def test_double_heads_match(model: Transformer, vectors: dict[str, Any]) -> None:
    """The head is made here from the states: a linear map at the position of mc_token_ids."""
    double = vectors["double_heads"]
    (tw, name_w, shape_w), (tb, name_b, shape_b) = double["extra_tensors"]
    weight = hashed.tensor(tw, name_w, tuple(shape_w), AMPLITUDE)
    bias = hashed.tensor(tb, name_b, tuple(shape_b), AMPLITUDE)
    choices = torch.tensor(double["input_ids"])[0]  # (choices, T)
    hidden = model.hidden(choices)
    at = hidden[torch.arange(2), torch.tensor(double["mc_token_ids"])[0]]
    mc_logits = F.linear(at, weight, bias).squeeze(1)
    same(mc_logits, double["mc_logits"])
    same(F.cross_entropy(mc_logits[None], torch.tensor([1])), double["mc_loss_label1"])
    total, count = linear_cross_entropy(
        hidden[:, :-1].flatten(0, 1), model.tokens.weight, choices[:, 1:].flatten()
    )
    same(total / count, double["lm_loss_mean_over_all_target_positions"])


def test_the_activation_matches(model_vectors: dict[str, Any]) -> None:
    x = torch.tensor(model_vectors["gelu_tanh"]["x"], dtype=torch.float64)
    mlp = Transformer(CONFIG).double().blocks[0].mlp
    with torch.no_grad():  # an MLP that adds up what its activation gives: 4 * gelu(x) a column
        mlp.fc.weight.copy_(torch.eye(24).repeat(4, 1))
        mlp.proj.weight.copy_(torch.eye(24).repeat(1, 4))
        found = mlp.eval()(F.pad(x, (0, 24 - len(x)))[None])[0, : len(x)] / 4
    same(found, model_vectors["gelu_tanh"]["y"])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["float32", "float64"])
def test_the_full_size_matches(model_vectors: dict[str, Any], format: str) -> None:
    full = model_vectors["full_size"]
    expected = full[format]
    # the hash is rounded to float32 first, in both
    model = hashed.model(ModelConfig(), 0.035, torch.float32).to(getattr(torch, format))
    assert model.num_parameters() == full["n_parameters"]
    ids = torch.tensor(full["ids"])
    with torch.no_grad():
        out = model(ids, labels=ids)
    logits = out.logits[0]
    assert logits.argmax(-1).tolist() == expected["argmax"]
    ends = torch.cat([logits[:, :3], logits[:, -3:]], 1)
    for found, key, tolerance in (
        (ends, "logits_rows_first3_last3", {"rtol": 0, "atol": 1e-5}),
        (out.loss, "loss", {"rtol": 1e-6, "atol": 0}),
        (logits[-1].softmax(0).max(), "max_prob_last", {"rtol": 1e-5, "atol": 0}),
        (logits.double().abs().sum(), "logits_sum_abs", {"rtol": 1e-6, "atol": 0}),
    ):
        assert_close(found, torch.tensor(expected[key]).to(found), **tolerance)
