"""onnxruntime as a backend: the model's numbers in float32, close ones in 8 and 4 bits."""

from __future__ import annotations

import sys
from importlib.metadata import version

import pytest
import torch
from torch import Tensor

import tiny
from gpt1.cli import doctor
from gpt1.config import ModelConfig, SamplingConfig
from gpt1.errors import ConfigError
from gpt1.generation import choose_backend, engine
from gpt1.generation.onnx_backend import OnnxBackend, Weights, is_installed
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.transformer import Transformer
from gpt1.pipeline import GPT1, load
from gpt1.text.tokenizer import Tokenizer
from tolerances import FP32

CLOSE = {"float32": FP32, "int8": 0.03, "int4": 0.25}
"""Random weights suffer most from rounding; perplexity says what it costs."""


def make(**changes: object) -> Transformer:
    shape = {"vocab_size": 301, "n_ctx": 48, "n_embd": 64, "n_layer": 3, "n_head": 4, **changes}
    return Transformer(ModelConfig(**shape), generator=torch.Generator().manual_seed(1)).eval()


def some_ids(rows: int = 3, length: int = 24) -> Tensor:
    return torch.randint(301, (rows, length), generator=torch.Generator().manual_seed(2))


def error(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("weights", CLOSE)
@pytest.mark.parametrize("width", [64, 96, 128])  # 96: groups that the width does not fill
def test_rows_of_different_lengths_are_read_cut_back_and_read_on(
    weights: Weights, width: int
) -> None:
    """Every way to read ids, in slots beside others, against the whole texts at once."""
    model, ids = make(n_embd=width, afn="relu" if width == 96 else "gelu"), some_ids()
    backend = OnnxBackend(model, weights)
    with torch.inference_mode():
        expected = model(ids).logits
    cache = backend.new_cache(5, 40)
    slots = slice(1, 4)
    lengths = torch.tensor([9, 4, 1])
    found = [(backend.prefill(ids[:, :9], lengths, cache, slots), lengths - 1)]
    cache.truncate(1, 7)
    starts = torch.tensor([7, 4, 1])
    further = torch.stack([row[start : start + 6] for row, start in zip(ids, starts, strict=True)])
    states = backend.extend(further, torch.tensor([6, 2, 5]), cache, slots)
    assert cache.lengths.tolist() == [0, 13, 6, 6, 0]
    read = backend.logits(states)
    for row, count in enumerate((6, 2, 5)):
        places = starts[row] + torch.arange(count)
        assert error(read[row, :count], expected[row, places]) < CLOSE[weights]
    for _ in range(3):
        at = cache.lengths[slots].clone()
        found.append((backend.decode(ids[torch.arange(3), at], cache, slots), at))
    for logits, places in found:
        assert logits.shape == (3, 301)
        assert error(logits, expected[torch.arange(3), places]) < CLOSE[weights]
    cache.move(3, 0)
    alone = backend.decode(ids[2:, 9], cache, slice(0, 1))
    assert error(alone, expected[2:, 9]) < CLOSE[weights]


def test_eight_and_four_bits_are_smaller_and_no_coarser_than_they_must_be() -> None:
    model, ids = make(n_embd=128), some_ids()
    with torch.inference_mode():
        expected = model(ids).logits[:, -1]
    errors, sizes = [], []
    for weights in CLOSE:
        backend = OnnxBackend(model, weights)  # type: ignore[arg-type]
        lengths = torch.full((3,), 24)
        logits = backend.prefill(ids, lengths, backend.new_cache(3, 24), slice(0, 3))
        errors.append(error(logits, expected))
        sizes.append(backend.num_bytes)
    assert errors[0] < errors[1] < errors[2]
    assert sizes[0] > 2.5 * sizes[1] > 3.5 * sizes[2] > 0


@pytest.mark.parametrize("weights", CLOSE)
def test_texts_of_many_are_those_of_each_alone(weights: Weights, tokenizer: Tokenizer) -> None:
    model = make(vocab_size=len(tokenizer), initializer_range=0.2)
    backend = OnnxBackend(model, weights)
    prompts = ["hello", "my dog is", "i ' m so cute and my dog is cute", "dog", "so"]
    for sampling in (
        SamplingConfig(max_new_tokens=30),
        SamplingConfig(max_new_tokens=30, temperature=1.0, seed=3),
        SamplingConfig(max_new_tokens=90, overflow="slide"),
    ):
        together = engine.generate(backend, tokenizer, prompts, sampling)
        for i, (prompt, found) in enumerate(zip(prompts, together, strict=True)):
            seed = None if sampling.seed is None else sampling.seed + i
            alone = sampling.model_copy(update={"seed": seed})
            assert engine.generate(backend, tokenizer, [prompt], alone)[0].ids == found.ids
    if weights == "float32":
        exact = engine.generate(TorchBackend(model), tokenizer, prompts, sampling)
        assert [g.ids for g in together] == [g.ids for g in exact]


def test_a_backend_knows_when_the_model_has_moved_on() -> None:
    model = make()
    backend = OnnxBackend(model)
    assert backend.is_current()
    with torch.no_grad():
        model.blocks[1].mlp.fc.bias.add_(1)
    assert not backend.is_current()


def test_what_it_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"float32 models on a CPU; this one is torch.float64"):
        OnnxBackend(tiny.model().double())
    with pytest.raises(ConfigError, match=r"heads of a multiple of 8 .* has 3 in a width of 36"):
        OnnxBackend(make(n_embd=36, n_head=3))
    assert is_installed()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not is_installed()
    with pytest.raises(ConfigError, match=r"pip install \"gpt1\[onnx\]\""):
        OnnxBackend(tiny.model())


def test_the_backend_is_the_one_asked_for_or_the_faster_one(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(vocab_size=len(tokenizer))
    for dtype, backend, name in (
        ("float32", "onnx", "onnx float32"),
        ("auto", "onnx", "onnx float32"),
        ("int8", "onnx", "onnx int8"),
        ("int4", "auto", "onnx int4"),
        ("int8", "torch", "torch int8"),
        ("float32", "auto", "torch float32"),
    ):
        gpt = GPT1(model, tokenizer, dtype=dtype, backend=backend)
        assert gpt.backend().name == name
        assert len(gpt.generate("my dog", max_new_tokens=5).logprobs) == 5
    spent = {"torch": 2.0, "onnx": 1.0}
    monkeypatch.setattr(choose_backend, "_seconds", lambda b: spent[b.name.split()[0]])
    for winner in ("onnx", "torch"):
        choose_backend.trial_seconds.cache_clear()
        assert GPT1(model, tokenizer, dtype="int8").backend().name == f"{winner} int8"
        spent["torch"] = 0.5
    choose_backend.trial_seconds.cache_clear()
    odd = make(vocab_size=len(tokenizer), n_embd=36, n_head=3)
    assert GPT1(odd, tokenizer, dtype="int8").backend().name == "torch int8"


@pytest.mark.parametrize(
    ("dtype", "backend", "message"),
    [
        ("int5", "auto", "dtype is 'int5'; it must be one of auto, float32, .*int4"),
        ("auto", "tvm", "backend is 'tvm'; it must be auto, torch or onnx"),
        ("int4", "torch", "dtype is 'int4'; backend torch can do auto, float32, float16, .*int8"),
        ("float16", "onnx", "backend onnx can do auto, float32, int8, int4"),
    ],
)
def test_what_no_backend_can_do_is_refused_before_a_model_is_loaded(
    dtype: str, backend: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load("no-such-model", dtype=dtype, backend=backend)


def test_without_onnxruntime_int8_is_torchs_and_int4_says_what_to_install(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    choose_backend.trial_seconds.cache_clear()
    model = make(vocab_size=len(tokenizer))
    assert GPT1(model, tokenizer, dtype="int8").backend().name == "torch int8"
    for dtype, backend in (("int4", "auto"), ("int8", "onnx")):
        with pytest.raises(ConfigError, match=r"needs onnxruntime. Run pip install"):
            GPT1(model, tokenizer, dtype=dtype, backend=backend)
    choose_backend.trial_seconds.cache_clear()
    shown = doctor.machine()
    assert shown["onnxruntime"].startswith("not installed")
    assert shown["int8 backend"] == "torch (onnxruntime is not installed)"
    assert not any("onnx" in trial["kernel"] for trial in doctor.kernel_trials())


def test_doctor_shows_what_onnxruntime_can_do_and_what_auto_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent = {"torch": 0.002, "onnx": 0.001}
    monkeypatch.setattr(choose_backend, "_seconds", lambda b: spent[b.name.split()[0]])
    choose_backend.trial_seconds.cache_clear()
    shown = doctor.machine()
    choose_backend.trial_seconds.cache_clear()
    assert shown["onnxruntime"] == version("onnxruntime")
    assert shown["int8 backend"] == "onnx (faster in a trial: torch 2.00 ms, onnx 1.00 ms)"
    assert shown["int4 backend"].startswith("onnx (")
    assert all(shown[f"{width} backend"].startswith("torch (") for width in ("float32", "bfloat16"))
    trials = [trial for trial in doctor.kernel_trials() if "onnx" in trial["kernel"]]
    assert [trial["weights"] for trial in trials] == ["int8", "int4"]
    errors = [float(trial["error"]) for trial in trials]
    assert 1e-3 < errors[0] < errors[1] < 0.2
    assert not any(trial["note"] for trial in trials)


@pytest.mark.parametrize("backend", [TorchBackend, OnnxBackend])
@pytest.mark.parametrize("broken", ["position 12", "token 0", "token of another row"])
def test_padding_brings_no_nan_of_others_into_a_row(
    backend: type[TorchBackend] | type[OnnxBackend], broken: str
) -> None:
    model = make()
    ids = some_ids(2, 20).clamp_min(1)
    ids[0, 19], ids[1, 4:] = 300, 0
    with torch.no_grad():
        if broken == "position 12":
            model.positions.weight[12] = torch.nan
        else:
            model.tokens.weight[0 if broken == "token 0" else 300] = torch.nan
    ready = backend(model)
    read = ready.prefill(ids, torch.tensor([20, 4]), ready.new_cache(2, 30), slice(0, 2))
    alone = ready.prefill(ids[1:, :4], torch.tensor([4]), ready.new_cache(1, 30), slice(0, 1))
    unbroken = alone[0].isfinite()
    assert unbroken.sum() >= 300  # all but the logit of a broken token itself
    torch.testing.assert_close(read[1][unbroken], alone[0][unbroken], rtol=1e-5, atol=1e-5)
