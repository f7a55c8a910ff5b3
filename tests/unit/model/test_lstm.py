"""The LSTM baseline: the textbook cell, packed sequences as if alone, and the paper's sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tiny
import tolerances
from gpt1.checkpoint import folder, huggingface
from gpt1.config import ModelConfig, load_size
from gpt1.errors import CheckpointError, ConfigError
from gpt1.model.build import build_model, grow_vocabulary
from gpt1.model.heads import Head
from gpt1.model.lstm import LSTM
from gpt1.model.transformer import Transformer
from gpt1.storage import json_bytes, write_folder

SHAPE = tiny.config(n_layer=1, n_head=1, n_hidden=20)


def model(**changes: object) -> LSTM:
    """Return a small LSTM with random weights and biases, float64, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    lstm = LSTM(SHAPE.model_copy(update=changes), generator=generator).double().eval()
    with torch.no_grad():
        for parameter in lstm.parameters():
            if parameter.dim() == 1:
                parameter.normal_(0, 0.3, generator=generator)
    return lstm


def some_ids(*shape: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(SHAPE.vocab_size, shape, generator=generator)


def by_hand(lstm: LSTM, ids: Tensor) -> Tensor:
    """Return the states of one sequence, cell by cell (Gers et al. 2000: i, f, g, o)."""
    state = lstm.state_dict()
    w_x, w_h = (state[f"blocks.0.lstm.weight_{way}_l0"] for way in ("ih", "hh"))
    bias = state["blocks.0.lstm.bias_ih_l0"] + state["blocks.0.lstm.bias_hh_l0"]
    h = c = torch.zeros(w_h.shape[1], dtype=w_h.dtype)
    states = []
    for number in ids.tolist():
        i, f, g, o = (w_x @ state["tokens.weight"][number] + w_h @ h + bias).chunk(4)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(state["blocks.0.proj.weight"] @ h + state["blocks.0.proj.bias"])
    return torch.stack(states)


def test_it_is_the_textbook_cell() -> None:
    lstm, ids = model(), some_ids(3, 31)
    expected = torch.stack([by_hand(lstm, row) for row in ids])
    torch.testing.assert_close(lstm.hidden(ids), expected, rtol=1e-10, atol=1e-10)
    logits = expected @ lstm.tokens.weight.detach().T
    labels = ids.clone()
    labels[0, 4:] = -100
    out = lstm(ids, labels=labels)
    torch.testing.assert_close(out.logits, logits, rtol=1e-10, atol=1e-10)
    mean = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(out.loss, mean, **tolerances.FP64)
    single = lstm.float().hidden(ids).detach().double()  # torch takes another way for float32
    assert float((single - expected).abs().max() / expected.abs().max()) < tolerances.FP32


SEGMENTS = [
    [1, 1, 1, 2, 2, 2, 2, 2, 3, 0, 0, 0],
    [1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
]


def test_packed_sequences_have_the_states_and_gradients_of_each_alone() -> None:
    lstm, ids, segments = model(), some_ids(3, 12), torch.tensor(SEGMENTS)
    towards = torch.randn(3, 12, SHAPE.n_embd, dtype=torch.float64)
    states = lstm.hidden(ids, segments=segments)
    assert not states[segments == 0].any()
    (states * towards).sum().backward()
    packed = {name: p.grad.clone() for name, p in lstm.named_parameters() if p.grad is not None}
    lstm.zero_grad()
    for row in range(3):
        for segment in range(1, int(segments[row].max()) + 1):
            where = segments[row] == segment
            alone = lstm.hidden(ids[row, where][None])[0]
            torch.testing.assert_close(states[row, where], alone, **tolerances.FP64)
            (alone * towards[row, where]).sum().backward()
    assert len(packed) == len(list(lstm.parameters()))
    for name, parameter in lstm.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(packed[name], parameter.grad, **tolerances.ACCUMULATION_FP64)


@pytest.mark.parametrize("mask", [[1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1]])
def test_hidden_ids_are_passed_over(mask: list[int]) -> None:
    lstm, ids, kept = model(), some_ids(2, 6), torch.tensor([mask, [1] * 6])
    found = lstm(ids, attention_mask=kept).logits
    alone = lstm(ids[:1, kept[0].bool()]).logits
    torch.testing.assert_close(found[0, kept[0].bool()], alone[0], **tolerances.FP64)
    torch.testing.assert_close(found[1], lstm(ids[1:]).logits[0], **tolerances.FP64)
    everything = lstm(ids, attention_mask=torch.ones_like(ids)).logits
    assert torch.equal(everything, lstm(ids).logits)


def test_it_sees_the_past_only_and_positions_change_nothing() -> None:
    lstm, ids = model(), some_ids(1, 10)
    other = ids.clone()
    other[0, 6:] = some_ids(1, 4, seed=5)
    assert torch.equal(lstm.hidden(ids)[:, :6], lstm.hidden(other)[:, :6])
    places = torch.arange(10).flip(0)[None]
    assert torch.equal(lstm.hidden(ids, position_ids=places), lstm.hidden(ids))


def test_dropout_is_at_the_input_and_at_the_output() -> None:
    ids = some_ids(4, 30)
    for where in ("embd_pdrop", "resid_pdrop"):
        lstm = model(**{"embd_pdrop": 0.0, "resid_pdrop": 0.0, where: 0.5})
        plain = lstm.hidden(ids)
        assert torch.equal(lstm.hidden(ids), plain)
        dropped = lstm.train().hidden(ids)
        share = float((dropped == 0).double().mean())
        assert share == pytest.approx(0.5 if where == "resid_pdrop" else 0, abs=0.05)
        assert not torch.equal(dropped, plain)
    lstm = model(embd_pdrop=0.0, resid_pdrop=0.0).train()
    assert torch.equal(lstm.hidden(ids), lstm.eval().hidden(ids))


@torch.no_grad()
def test_autocast_keeps_the_states_in_float32_and_near() -> None:
    lstm, ids, segments = model().float(), some_ids(3, 12), torch.tensor(SEGMENTS)
    exact = lstm.hidden(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, packed = lstm.hidden(ids), lstm.hidden(ids, segments=segments)
    assert rough.dtype == packed.dtype == torch.float32
    assert float((rough - exact).abs().max() / exact.abs().max()) < tolerances.BF16
    assert float((packed[2] - exact[2]).abs().max() / exact.abs().max()) < tolerances.BF16


def test_the_paper_s_size() -> None:
    with torch.device("meta"):
        lstm = build_model(load_size("lstm"))
    assert isinstance(lstm, LSTM)
    layer = lstm.blocks[0]
    assert sum(p.numel() for p in layer.lstm.parameters()) == 23_085_056  # spec 8.3
    assert sum(p.numel() for p in layer.proj.parameters()) == 1_573_632
    assert lstm.num_parameters() == 40_478 * 768 + 23_085_056 + 1_573_632 == 55_745_792
    with torch.device("meta"):
        assert build_model(load_size("lstm-mini")).num_parameters() == 9_314_688
        assert isinstance(build_model(load_size("mini")), Transformer)


def test_it_starts_as_the_transformer_does() -> None:
    def start(seed: int) -> LSTM:
        generator = torch.Generator().manual_seed(seed)
        shape = {"vocab_size": 500, "n_embd": 64, "n_hidden": 100, "n_layer": 1, "n_head": 1}
        return LSTM(ModelConfig(**shape), generator=generator)

    for name, parameter in start(0).named_parameters():
        if parameter.dim() > 1:
            assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.05), name
        else:
            assert not parameter.any(), name
        assert torch.equal(parameter, start(0).state_dict()[name])
        assert parameter.dim() == 1 or not torch.equal(parameter, start(1).state_dict()[name])


@pytest.mark.parametrize("changes", [{"n_layer": 2}, {"n_hidden": None}])
def test_other_depths_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"Set model\.n_layer=1"):
        LSTM(SHAPE.model_copy(update=changes))


def test_the_vocabulary_grows() -> None:
    lstm, ids = model(), some_ids(1, 8)
    before = lstm(ids).logits
    grow_vocabulary(lstm, SHAPE.vocab_size + 3)
    after = lstm(ids).logits
    assert lstm.config.vocab_size == SHAPE.vocab_size + 3
    torch.testing.assert_close(after[..., :-3], before, **tolerances.FP64)


@pytest.mark.parametrize("headed", [False, True])
def test_a_folder_gives_back_the_same_bits(tmp_path: Path, headed: bool) -> None:
    lstm, ids = model().float(), some_ids(2, 8)
    if headed:
        lstm.head = Head(SHAPE.n_embd, 3)
    folder.save(tmp_path / "m", lstm, None)
    again = folder.build(folder.load(tmp_path / "m"))
    assert isinstance(again, LSTM)
    assert again.config == lstm.config == folder.read_config(tmp_path / "m")
    assert list(again.state_dict()) == list(lstm.state_dict())
    for name, value in lstm.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert torch.equal(again.hidden(ids), lstm.hidden(ids))


def test_transformers_cannot_take_it_for_a_gpt() -> None:
    values = huggingface.write_config(SHAPE, None)
    assert values["model_type"] == "gpt1-lstm"
    assert "architectures" not in values
    assert "n_hidden" not in huggingface.write_config(ModelConfig(), None)


def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    files = folder.files(model().float(), None)
    config = huggingface.write_config(SHAPE, None)
    for change, message in (
        ({"n_hidden": None}, "n_hidden is None"),
        ({"n_layer": 2}, "n_layer 2"),
        ({"n_hidden": 21}, r"blocks\.0\.proj\.weight is \[24, 20\]"),
        ({"model_type": "openai-gpt"}, r"unexpected: blocks\.0\.lstm"),
    ):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        write_folder(place, {**files, "config.json": json_bytes({**config, **change})})
        with pytest.raises(CheckpointError, match=message):
            folder.load(place)
