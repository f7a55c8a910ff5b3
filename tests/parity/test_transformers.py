"""The model against transformers' OpenAIGPT under random weights: outputs and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close
from transformers import OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel, OpenAIGPTLMHeadModel

from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig
from gpt1.model import attention
from gpt1.model.transformer import Transformer
from tolerances import FP32, FP64, TRANSFORMERS_LOSS

CONFIG = ModelConfig(vocab_size=97, n_ctx=24, n_embd=32, n_layer=3, n_head=4, initializer_range=0.3)


def oracle(
    config: ModelConfig, kind: type = OpenAIGPTLMHeadModel
) -> OpenAIGPTLMHeadModel | OpenAIGPTDoubleHeadsModel:
    """Return transformers' model with random weights, biases and gains, float64."""
    model = kind(OpenAIGPTConfig(**huggingface.write_config(config, None))).eval().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.3, generator=generator)
            if name.endswith(("ln_1.weight", "ln_2.weight")):
                parameter.add_(1)
    return model


def ours_from(
    model: OpenAIGPTLMHeadModel | OpenAIGPTDoubleHeadsModel, config: ModelConfig
) -> Transformer:
    """Return our model holding the same numbers, through nothing but the table of names."""
    weights = model.transformer.state_dict()
    transformer = Transformer(config).double().eval()
    with torch.no_grad():
        for ours, theirs in huggingface.names(config.n_layer).items():
            weight = weights.pop(theirs)
            turned = theirs.startswith("h.") and weight.dim() == 2
            transformer.get_parameter(ours).copy_(weight.t() if turned else weight)
    assert not weights
    return transformer


@pytest.fixture(scope="module")
def theirs() -> OpenAIGPTLMHeadModel:
    return oracle(CONFIG)


@pytest.fixture(scope="module")
def ours(theirs: OpenAIGPTLMHeadModel) -> Transformer:
    return ours_from(theirs, CONFIG)


def random_ids(rows: int, length: int, seed: int = 0, high: int = CONFIG.vocab_size) -> Tensor:
    return torch.randint(high, (rows, length), generator=torch.Generator().manual_seed(seed))


RIGHT = torch.tensor([[1] * 9, [1] * 5 + [0] * 4, [1] + [0] * 8])
LEFT = RIGHT.flip(1)
POSITIONS = (LEFT.cumsum(1) - 1).clamp_min(0)


@pytest.mark.parametrize("afn", ["gelu", "relu", "swish"])
def test_logits_states_and_attentions_agree(afn: str) -> None:
    config = CONFIG.model_copy(update={"afn": afn})
    theirs = oracle(config)
    ours = ours_from(theirs, config)
    ids = random_ids(3, 9)
    a = ours(ids, output_hidden_states=True, output_attentions=True)
    b = theirs(ids, output_hidden_states=True, output_attentions=True)
    assert_close(a.logits, b.logits, **FP64)
    assert len(a.hidden_states) == len(b.hidden_states) == config.n_layer + 1
    assert len(a.attentions) == len(b.attentions) == config.n_layer
    assert_close(a.hidden_states, b.hidden_states, **FP64)
    assert_close(a.attentions, b.attentions, **FP64)
    assert_close(ours(ids).logits, b.logits, **FP64)  # the other path of attention


@pytest.mark.parametrize("length", [1, 2, CONFIG.n_ctx])
def test_the_shortest_and_the_longest_inputs_agree(
    ours: Transformer, theirs: OpenAIGPTLMHeadModel, length: int
) -> None:
    ids = random_ids(2, length, seed=length)
    assert_close(ours(ids).logits, theirs(ids).logits, **FP64)


@pytest.mark.parametrize(("mask", "positions"), [(RIGHT, None), (LEFT, None), (LEFT, POSITIONS)])
def test_padding_agrees_at_real_positions(
    ours: Transformer, theirs: OpenAIGPTLMHeadModel, mask: Tensor, positions: Tensor | None
) -> None:
    given = {"attention_mask": mask, "position_ids": positions}
    a, b = ours(random_ids(3, 9), **given).logits, theirs(random_ids(3, 9), **given).logits
    assert a.isfinite().all()
    assert_close(a[mask.bool()], b[mask.bool()], **FP64)


def test_position_ids_and_token_types_agree(
    ours: Transformer, theirs: OpenAIGPTLMHeadModel
) -> None:
    ids, types = random_ids(2, 9), random_ids(2, 9, seed=5)
    positions = torch.randint(CONFIG.n_ctx, (2, 9), generator=torch.Generator().manual_seed(3))
    a = ours(ids, position_ids=positions, token_type_ids=types).logits
    b = theirs(ids, position_ids=positions, token_type_ids=types).logits
    assert_close(a, b, **FP64)


def test_the_loss_agrees_to_the_float32_of_transformers(
    ours: Transformer, theirs: OpenAIGPTLMHeadModel
) -> None:
    ids = random_ids(3, 9)
    labels = ids.masked_fill(RIGHT == 0, -100)
    labels[0, 3:5] = -100
    a = ours(ids, labels=labels, attention_mask=RIGHT).loss
    b = theirs(ids, labels=labels, attention_mask=RIGHT).loss
    assert a is not None
    assert_close(a, b.double(), **TRANSFORMERS_LOSS)


@pytest.mark.parametrize("block", [4, 128])
def test_gradients_agree_under_one_loss(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK", block)  # 9 positions in three blocks, and in one
    theirs = oracle(CONFIG)
    ours = ours_from(theirs, CONFIG)
    ids = random_ids(3, 9)
    labels = ids.masked_fill(RIGHT == 0, -100)

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())

    a = ours(ids, labels=labels, attention_mask=RIGHT)
    assert a.loss is not None
    b = loss(theirs(ids, attention_mask=RIGHT).logits)
    assert_close(a.loss, b, **FP64)
    a.loss.backward()
    b.backward()
    gradients = {name: p.grad for name, p in theirs.transformer.named_parameters()}
    for mine, other in huggingface.names(CONFIG.n_layer).items():
        expected = gradients[other]
        turned = other.startswith("h.") and expected.dim() == 2
        assert_close(ours.get_parameter(mine).grad, expected.t() if turned else expected, **FP64)


def test_two_heads_and_their_gradients_agree() -> None:
    theirs = oracle(CONFIG, OpenAIGPTDoubleHeadsModel)
    ours = ours_from(theirs, CONFIG)
    ids = random_ids(4, 9).view(2, 2, 9)
    at = torch.tensor([[8, 6], [3, 8]])
    b = theirs(ids, mc_token_ids=at)
    hidden = ours.hidden(ids.flatten(0, 1))
    head = theirs.multiple_choice_head.summary
    picked = hidden[torch.arange(4), at.flatten()]
    mc_logits = F.linear(picked, head.weight, head.bias).view(2, 2)
    logits = F.linear(hidden, ours.tokens.weight).view(2, 2, 9, -1)
    assert_close(mc_logits, b.mc_logits, **FP64)
    assert_close(logits, b.logits, **FP64)
    answer = torch.tensor([1, 0])

    def loss(lm: Tensor, mc: Tensor) -> Tensor:
        language = F.cross_entropy(lm[:, :, :-1].flatten(0, 2), ids[:, :, 1:].flatten())
        return 0.5 * language + F.cross_entropy(mc, answer)

    loss(logits, mc_logits).backward()
    loss(b.logits, b.mc_logits).backward()
    for mine, other in (
        ("tokens.weight", "tokens_embed.weight"),
        ("positions.weight", "positions_embed.weight"),
        ("blocks.0.attention.qkv.weight", "h.0.attn.c_attn.weight"),
    ):
        gradient = theirs.transformer.get_parameter(other).grad
        turned = gradient.t() if other.startswith("h.") else gradient
        assert_close(ours.get_parameter(mine).grad, turned, **FP64)


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        (ModelConfig(vocab_size=1000, n_ctx=64, n_layer=3), random_ids(2, 64, high=1000)),
        pytest.param(ModelConfig(), random_ids(1, 512, high=40478), marks=pytest.mark.slow),
    ],
)
def test_float32_agrees_at_the_width_of_the_paper(config: ModelConfig, ids: Tensor) -> None:
    theirs = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**huggingface.write_config(config, None))).eval()
    with torch.no_grad():
        ours = ours_from(theirs, config).float()
        a, b = ours(ids).logits, theirs(ids).logits
    assert ((a - b).abs().max() / b.abs().max()).item() <= FP32
