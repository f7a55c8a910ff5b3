"""Properties of the model that hold for any weights, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gpt1.config import ModelConfig, load_size
from gpt1.errors import ContextError, InputError
from gpt1.model.build import Model, grow_vocabulary
from gpt1.model.cache import KeyValueCache
from gpt1.model.dropout import Dropout
from gpt1.model.lstm import LSTM
from gpt1.model.transformer import Transformer
from tolerances import EXACT, FP64

CONFIG = ModelConfig(vocab_size=60, n_ctx=16, n_embd=24, n_layer=3, n_head=3, initializer_range=0.3)


def make(config: ModelConfig = CONFIG, seed: int = 0) -> Transformer:
    return Transformer(config, generator=torch.Generator().manual_seed(seed)).double().eval()


def random_ids(rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(60, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("changed", [0, 7, 15])
def test_a_changed_id_changes_no_earlier_logits(changed: int) -> None:
    model, ids = make(), random_ids(2, 16)
    other = ids.clone()
    other[:, changed] = (other[:, changed] + 1) % 60
    a, b = model(ids).logits, model(other).logits
    assert_close(a[:, :changed], b[:, :changed], **FP64)
    assert not torch.equal(a[:, changed], b[:, changed])


def test_the_head_is_the_token_matrix() -> None:
    model, ids = make(), random_ids(1, 5)
    assert_close(model(ids).logits, model.hidden(ids) @ model.tokens.weight.T, **EXACT)
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == 2 + 12 * CONFIG.n_layer
    with torch.no_grad():
        model.tokens.weight[59] = 0  # an id that the text does not hold
    assert (ids != 59).all()
    assert (model(ids).logits[..., 59] == 0).all()


def test_a_new_model_is_as_unsure_as_a_die() -> None:
    config = ModelConfig(vocab_size=5000, n_ctx=32, n_embd=96, n_layer=3, n_head=3)
    ids = torch.randint(5000, (8, 32), generator=torch.Generator().manual_seed(1))
    loss = make(config)(ids, labels=ids).loss
    assert loss is not None
    assert abs(loss.item() - math.log(5000)) < 0.1


def test_a_new_model_is_drawn_as_the_paper_says() -> None:
    model = Transformer(load_size("tiny"), generator=torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all()
        elif ".ln_" in name:
            assert (parameter == 1).all()
        else:
            assert abs(parameter.std().item() - 0.02) < 0.001
            assert abs(parameter.mean().item()) < 0.001


def test_evaluation_is_deterministic_and_training_drops() -> None:
    model, ids = make(), random_ids(2, 9)
    assert_close(model(ids).logits, model(ids).logits, **EXACT)
    model.train()
    assert not torch.equal(model(ids).logits, model(ids).logits)
    still = make(CONFIG.model_copy(update=dict.fromkeys(
        ("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)))  # fmt: skip
    assert_close(still(ids).logits, still.train()(ids).logits, **EXACT)


def test_dropout_sits_in_the_paper_s_places() -> None:
    model = make()
    drops = [m.p for m in model.modules() if isinstance(m, Dropout)]
    assert drops == [0.1] * (1 + 2 * CONFIG.n_layer)  # embedding; attention and MLP of each block
    assert all(block.attention.attn_pdrop == 0.1 for block in model.blocks)


@pytest.mark.parametrize("lengths", [[3, 3, 3], [5, 1, 3], [1, 7, 2]])
def test_reading_piece_by_piece_is_reading_at_once(lengths: list[int]) -> None:
    """Rows of different lengths: a padded prompt, then two ids, then one id at a time."""
    model, rows = make(), len(lengths)
    ids = random_ids(rows, 16)
    cache = KeyValueCache(CONFIG, rows, dtype=torch.float64)
    prompt = torch.zeros(rows, max(lengths), dtype=torch.int64)
    for row, length in enumerate(lengths):
        prompt[row, :length] = ids[row, :length]
    whole = model(ids).logits
    seen = torch.tensor(lengths)
    logits = model(prompt, cache=cache).logits
    for row, length in enumerate(lengths):
        assert_close(logits[row, :length], whole[row, :length], **FP64)
    cache.advance(seen)
    for new in (2, 1, 1, 1, 1):
        at = seen[:, None] + torch.arange(new)
        logits = model(ids.gather(1, at), cache=cache).logits
        assert_close(logits, whole.gather(1, at[:, :, None].expand(-1, -1, 60)), **FP64)
        cache.advance(new)
        seen = seen + new
    assert cache.lengths.tolist() == seen.tolist()


def test_slots_of_a_cache_are_moved_shared_repeated_and_cleared() -> None:
    model, ids = make(), random_ids(3, 8)
    whole = model(ids).logits
    cache = KeyValueCache(CONFIG, 4, dtype=torch.float64)
    part = cache[:3]
    model(ids[:, :7], cache=part)
    part.advance(torch.tensor([7, 4, 7]))
    assert cache.lengths.tolist() == [7, 4, 7, 0]
    cache.move(2, 1)
    logits = model(ids[[0, 2], 7:], cache=cache[:2]).logits
    assert_close(logits, whole[[0, 2], 7:], **FP64)
    again = cache[:2].repeat(torch.tensor([1, 2]))
    logits = model(ids[[0, 2, 2], 7:], cache=again).logits
    assert_close(logits, whole[[0, 2, 2], 7:], **FP64)
    cache.keys[:, 1] = torch.nan
    cache.clear(1)
    logits = model(ids[:2, :1], cache=cache[1:3]).logits  # beside a row of seven
    assert_close(logits[0], whole[0, :1], **FP64)


def test_a_mask_of_documents_keeps_them_apart() -> None:
    model, first, second = make(), random_ids(1, 4), random_ids(1, 5, seed=1)
    owner = torch.tensor([0] * 4 + [1] * 5)
    mask = (owner[:, None] == owner[None])[None, None]
    positions = torch.cat([torch.arange(4), torch.arange(5)])[None]
    packed = model(torch.cat([first, second], 1), attention_mask=mask, position_ids=positions)
    assert_close(packed.logits[:, :4], model(first).logits, **FP64)
    assert_close(packed.logits[:, 4:], model(second).logits, **FP64)


def test_new_tokens_leave_the_old_logits_alone() -> None:
    model, ids = make(), random_ids(1, 5)
    before = model(ids).logits
    grow_vocabulary(model, 63, generator=torch.Generator().manual_seed(0))
    after = model(ids).logits
    assert after.shape == (1, 5, 63)
    assert model.config.vocab_size == 63
    assert_close(after[..., :60], before, **FP64)
    with pytest.raises(InputError, match="63 tokens; it cannot shrink to 62"):
        grow_vocabulary(model, 62)


IDS = random_ids(2, 4)
NUMBERS = "whole numbers of shape"
REFUSED: list[tuple[dict[str, Tensor], str]] = [
    *(
        (
            {"ids": torch.tensor([[1, wrong, 2]])},
            rf"ids hold {wrong}; .* 0 to 59\. Use the tokenizer",
        )
        for wrong in (60, -1, 10**9)
    ),
    *(({"ids": IDS[:rows, :columns]}, NUMBERS) for rows, columns in ((0, 4), (2, 0))),
    ({"ids": IDS[0]}, NUMBERS),
    ({"ids": IDS.double()}, NUMBERS),
    ({"ids": random_ids(1, 17)}, r"17 ids long; the model has 16 positions\. Shorten"),
    ({"labels": torch.full_like(IDS, 60)}, "labels hold 60;"),
    ({"labels": IDS[:, 1:]}, r"labels has shape \(2, 3\)"),
    ({"labels": IDS[:1]}, "labels has shape"),
    ({"labels": torch.full_like(IDS, -100)}, "labels hold no target"),
    ({"ids": IDS[:, :1], "labels": IDS[:, :1]}, "labels hold no target"),
    ({"position_ids": torch.tensor([[0, 1, 2, 16]])}, "position_ids hold 16; .* from 0 to 15"),
    ({"position_ids": IDS[:, :3]}, "position_ids has shape"),
    ({"attention_mask": torch.ones(2, 3)}, "attention_mask has shape"),
]


@pytest.mark.parametrize("kind", [Transformer, LSTM])
@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_both_models_refuse_in_the_same_words(
    kind: type[Model], given: dict[str, Tensor], message: str
) -> None:
    shape = {"n_layer": 1, "n_hidden": 20} if kind is LSTM else {}
    model = kind(CONFIG.model_copy(update=shape))
    with pytest.raises(InputError, match=message) as error:
        model(**{"ids": IDS, **given})
    assert isinstance(error.value, ContextError) == ("ids long" in message)


def test_what_only_a_transformer_takes_must_fit_too() -> None:
    model, cache = make(), KeyValueCache(CONFIG, 2, dtype=torch.float64)
    with pytest.raises(InputError, match=r"token_type_ids has shape \(3, 4\)"):
        model(IDS, token_type_ids=torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(InputError, match="attention_mask and cache"):
        model(IDS, attention_mask=torch.ones(2, 4), cache=cache)
    model(random_ids(2, 16), cache=cache)
    cache.advance(16)
    with pytest.raises(ContextError, match="17 ids long"):
        model(IDS[:, :1], cache=cache)
