"""Static decode steps: the logits of the plain step, whatever happened to the slots before."""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import tiny
from gpt1.config import SamplingConfig
from gpt1.errors import ContextError, Note
from gpt1.generation import cuda_graphs
from gpt1.generation.cuda_graphs import CudaGraphs, StaticStep
from gpt1.generation.engine import generate
from gpt1.generation.torch_backend import TorchBackend, make_backend
from gpt1.model.cache import KeyValueCache
from gpt1.text.tokenizer import Tokenizer
from gpt1.text.vocabulary import Vocabulary

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
V = tiny.config().vocab_size


def with_graphs(dtype: torch.dtype = torch.float64, n_ctx: int = 32) -> TorchBackend:
    backend = TorchBackend(tiny.model(n_ctx=n_ctx).to(dtype))
    backend._graphs = CudaGraphs(backend.model)
    return backend


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Replay on a CPU: the step is computed again and its output is written where it was."""
    seen: list[int] = []

    def capture(compute: Callable[[], None]) -> Callable[[], None]:
        step = compute.__self__  # type: ignore[attr-defined]
        compute()
        seen.append(len(step._logits))

        def replay() -> None:
            output = step._logits
            compute()
            assert step._logits.shape == output.shape
            step._logits = output.copy_(step._logits)

        return replay

    monkeypatch.setattr(cuda_graphs, "capture", capture)
    return seen


def read(backend: TorchBackend, cache: KeyValueCache, rows: list[list[int]]) -> None:
    for slot, row in enumerate(rows):
        slots = slice(slot, slot + 1)
        backend.prefill(torch.tensor([row]), torch.tensor([len(row)]), cache, slots)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.inference_mode()
def test_a_static_step_gives_the_logits_of_the_plain_step(dtype: torch.dtype) -> None:
    """After moves, cuts and clearings, for rows of 0 to 30 ids, in use or not."""
    backend = TorchBackend(tiny.model().to(dtype))
    source = random.Random(1)
    plain, static = backend.new_cache(8, 33), backend.new_cache(8, 33)
    rows = [[source.randrange(V) for _ in range(length)] for length in (1, 9, 30, 4, 17, 2, 3, 5)]
    for cache in (plain, static):
        read(backend, cache, rows)
        cache.move(2, 3)
        cache.truncate(2, 12)
        cache.truncate(3, 28)
        cache.clear(5)
    step = StaticStep(backend.model, static, 8)
    for turn in range(4):
        n = (6, 8, 5, 6)[turn]
        ids = torch.randint(V, (n,), generator=torch.Generator().manual_seed(turn))
        expected = backend.decode(ids, plain, slice(0, n))
        step._inputs[0] = 1
        step._inputs[1] = 32  # the last position, which is nobody's
        step._inputs[0, :n], step._inputs[1, :n] = ids, static.lengths[:n]
        for _ in range(2):  # computed twice, as a capture does
            step.compute()
        static.lengths[:n] += 1
        assert step._logits is not None
        torch.testing.assert_close(step._logits[:n], expected)
        static.truncate(2, 6 + turn)
        plain.truncate(2, 6 + turn)
    assert static.lengths.tolist() == plain.lengths.tolist()
    for slot, length in enumerate(plain.lengths.tolist()):  # also what idle rows hold
        torch.testing.assert_close(
            static.keys[:, slot, :, :length], plain.keys[:, slot, :, :length]
        )
        torch.testing.assert_close(
            static.values[:, slot, :, :length], plain.values[:, slot, :, :length]
        )


@pytest.mark.usefixtures("captures")
@pytest.mark.parametrize("count", [1, 3, 32, 40])
def test_texts_are_those_of_the_plain_step(count: int) -> None:
    tokenizer = Tokenizer(Vocabulary.of(tiny.vocabulary(), [tuple(m.split()) for m in tiny.MERGES]))
    source = random.Random(count)
    prompts = [[source.randrange(1, V) for _ in range(source.randint(1, 30))] for _ in range(count)]
    for settings in ({}, {"temperature": 1.0, "overflow": "slide", "max_new_tokens": 40}):
        sampling = SamplingConfig(seed=3, **settings)
        backend = with_graphs()
        found = generate(backend, tokenizer, prompts, sampling)
        plain = generate(TorchBackend(backend._source), tokenizer, prompts, sampling)
        assert [one.ids for one in found] == [one.ids for one in plain]
    beams = SamplingConfig(num_beams=3, max_new_tokens=8)
    found = generate(backend, tokenizer, prompts[:2], beams)
    plain = generate(TorchBackend(backend._source), tokenizer, prompts[:2], beams)
    assert [one.ids for one in found] == [one.ids for one in plain]


def test_steps_are_captured_once_for_each_number_of_rows_and_kept(captures: list[int]) -> None:
    backend = with_graphs()
    cache = backend.new_cache(6, 20)
    read(backend, cache, [[1, 2, 3]] * 6)
    outputs = []
    for n in (1, 2, 3, 4, 5, 6, 3, 6, 1):
        outputs.append(backend.decode(torch.full((n,), 4), cache, slice(0, n)))
    assert captures == [1, 2, 4, 6]
    kept = [output.clone() for output in outputs]
    backend.decode(torch.full((6,), 5), cache, slice(0, 6))
    assert all(torch.equal(a, b) for a, b in zip(kept, outputs, strict=True))
    memory = cache.keys.data_ptr()
    cache.keys.fill_(torch.nan)
    del cache
    gc.collect()
    again = backend.new_cache(6, 24)  # the same memory: both capacities are rounded to one
    assert again.keys.data_ptr() == memory
    assert again.lengths.tolist() == [0] * 6
    assert not again.keys.any()
    read(backend, again, [[1, 2, 3]] * 6)
    torch.testing.assert_close(backend.decode(torch.tensor([4]), again, slice(0, 1)), outputs[0])
    assert captures == [1, 2, 4, 6]
    other = backend.new_cache(6, 24)  # while that one is in use
    assert other.keys.data_ptr() != memory


@pytest.mark.usefixtures("captures")
def test_nothing_that_an_idle_row_computes_reaches_a_later_one() -> None:
    backend = with_graphs(n_ctx=32)
    with torch.no_grad():
        backend._source.positions.weight[-1] = torch.nan
    plain = TorchBackend(backend._source)
    cache, expected = backend.new_cache(4, 32), plain.new_cache(4, 32)
    for made in (cache, expected):
        read(plain, made, [[1, 2], [3], [4, 5, 6]])
    for n in (3, 4):  # the fourth is idle, and then not
        ids = torch.arange(n)
        found = backend.decode(ids, cache, slice(0, n))
        torch.testing.assert_close(found, plain.decode(ids, expected, slice(0, n)))
        assert found.isfinite().all()
        for made in (cache, expected):
            plain.prefill(torch.tensor([[7, 8]]), torch.tensor([2]), made, slice(3, 4))


@pytest.mark.usefixtures("captures")
def test_what_has_no_graph_takes_the_plain_step() -> None:
    backend = with_graphs()
    plain = TorchBackend(backend._source)
    cache, expected = backend.new_cache(3, 32), plain.new_cache(3, 32)
    for made in (cache, expected):
        read(plain, made, [[1] * 5, [2] * 7, [3] * 32])
    ids = torch.tensor([4])
    for slots in (slice(1, 2), slice(0, 1)):
        torch.testing.assert_close(
            backend.decode(ids, cache, slots), plain.decode(ids, expected, slots)
        )
    repeated = cache.repeat(torch.tensor([2, 0, 0]))
    assert backend._graphs is not None
    assert backend._graphs.decode(ids, repeated, slice(0, 1)) is None
    with pytest.raises(ContextError, match="33"):
        backend.decode(torch.tensor([1, 1, 1]), cache, slice(0, 3))
    torch.testing.assert_close(cache.lengths, expected.lengths)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a capture works here")
def test_a_capture_that_fails_is_told_once_and_the_plain_step_goes_on() -> None:
    backend = with_graphs()
    cache = backend.new_cache(2, 20)
    read(backend, cache, [[1, 2], [3]])
    plain = TorchBackend(backend._source)
    expected = plain.new_cache(2, 20)
    read(plain, expected, [[1, 2], [3]])
    ids, slots = torch.tensor([4, 5]), slice(0, 2)
    with pytest.warns(Note, match="CUDA graphs do not work here, so generation is slower: "):
        found = backend.decode(ids, cache, slots)
    assert torch.equal(found, plain.decode(ids, expected, slots))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = backend.decode(ids, cache, slots)
    assert torch.equal(found, plain.decode(ids, expected, slots))


@CUDA
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_captured_step_gives_the_logits_of_the_plain_step(dtype: str) -> None:
    model = tiny.model(n_embd=192).cuda()
    graphs, plain = make_backend(model, dtype), make_backend(model, dtype)
    plain._graphs = None
    caches = [backend.new_cache(8, 32) for backend in (graphs, plain)]
    rows: list[Tensor] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for backend, cache in zip((graphs, plain), caches, strict=True):
            read(backend, cache, [[1 + i] * (1 + 3 * i) for i in range(8)])
            cache.move(6, 1)
            cache.truncate(6, 4)
            cache.clear(7)
            logits = [backend.decode(torch.full((n,), n), cache, slice(0, n)) for n in (8, 5, 8, 1)]
            rows.append(torch.cat(logits))
    most = 1e-4 if dtype == "float32" else 3e-2
    assert float((rows[0] - rows[1]).abs().max() / rows[1].abs().max()) < most
    assert caches[0].lengths.tolist() == caches[1].lengths.tolist()


@CUDA
@pytest.mark.gpu
def test_greedy_ids_of_32_prompts_alone_and_together_are_those_of_the_plain_step() -> None:
    tokenizer = Tokenizer(Vocabulary.of(tiny.vocabulary(), [tuple(m.split()) for m in tiny.MERGES]))
    source = random.Random(5)
    prompts = [[source.randrange(1, V) for _ in range(source.randint(1, 30))] for _ in range(32)]
    model = tiny.model().double().cuda()  # no two logits are almost equal
    graphs, plain = TorchBackend(model), TorchBackend(model)
    plain._graphs = None
    sampling = SamplingConfig(max_new_tokens=30)
    expected = [one.ids for one in generate(plain, tokenizer, prompts, sampling)]
    assert [one.ids for one in generate(graphs, tokenizer, prompts, sampling)] == expected
    alone = [generate(graphs, tokenizer, [prompt], sampling)[0].ids for prompt in prompts]
    assert alone == expected
    assert graphs._graphs is not None
    assert graphs._graphs._able
    assert graphs._graphs._steps
