"""All threads or half of them, by a clock that the test turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from gpt1.config import ModelConfig
from gpt1.generation.threads import Threads
from gpt1.generation.torch_backend import TorchBackend
from gpt1.model.transformer import Transformer

QUIET, BUSY = {4: 1.0, 2: 1.6}, {4: 5.0, 2: 1.7}
"""Seconds of a step, by threads."""


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class Machine:
    """Steps that take as long as `speed` says."""

    def __init__(self) -> None:
        self.now, self.speed, self.differs = 0.0, QUIET, False
        self.threads = Threads(lambda: self.now)

    def step(self) -> Tensor:
        used = torch.get_num_threads()
        self.used[used] += 1
        self.now += self.speed[used]
        return torch.tensor(float(used if self.differs else 0))

    def steps(self, count: int, rows: int = 1) -> Counter[int]:
        """Return how many steps had 4 threads, and how many 2."""
        self.used: Counter[int] = Counter()
        for _ in range(count):
            self.threads.run(self.step, rows)
            assert torch.get_num_threads() == 4
        return self.used


def test_half_of_the_threads_compute_while_they_are_faster() -> None:
    machine = Machine()
    assert machine.steps(1) == {2: 1, 4: 1}, "compared"
    assert machine.steps(400)[4] >= 395
    machine.speed = BUSY
    assert machine.steps(8)[2] >= 4, "soon"
    assert machine.steps(400)[2] >= 395
    machine.speed = QUIET
    machine.steps(200)
    assert machine.steps(400)[4] >= 395


def test_one_slow_step_changes_nothing() -> None:
    machine = Machine()
    machine.steps(10)
    machine.speed = {4: 50.0, 2: 50.0}
    machine.steps(1)
    machine.speed = QUIET
    assert machine.steps(40) == {4: 40}


def test_numbers_of_rows_are_told_apart() -> None:
    machine = Machine()
    machine.steps(10)
    machine.speed = {4: 9.0, 2: 12.0}
    machine.steps(2, rows=8)
    assert machine.steps(20, rows=8) == {4: 20}
    machine.speed = QUIET
    assert machine.steps(20) == {4: 20}


def test_results_that_differ_are_those_of_all_threads() -> None:
    machine = Machine()
    machine.differs, machine.speed = True, BUSY
    machine.used = Counter()
    assert float(machine.threads.run(machine.step, 1)) == 4
    assert machine.steps(50) == {4: 50}


@pytest.mark.parametrize("width", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("rows", [1, 5])
def test_logits_are_equal_with_any_number_of_threads(width: str, rows: int) -> None:
    shape = ModelConfig(vocab_size=4000, n_ctx=64, n_embd=384, n_layer=1, n_head=6)
    model = Transformer(shape, generator=torch.Generator().manual_seed(1)).eval()
    backend = TorchBackend(model, width)
    ids = torch.randint(4000, (rows, 12), generator=torch.Generator().manual_seed(2))
    found = []
    for threads in (2, 1, 3):
        torch.set_num_threads(threads)
        cache, slots = backend.new_cache(rows, 64), slice(0, rows)
        backend.prefill(ids, torch.arange(12 - rows, 12), cache, slots)
        found.append(backend.decode(ids[:, 0], cache, slots))
        assert backend._threads._same
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
