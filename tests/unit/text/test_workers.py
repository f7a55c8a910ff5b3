"""Several processes give the same ids, in order, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from release_text import hard_strings

from gpt1.errors import InputError
from gpt1.text import workers
from gpt1.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*hard_strings(seed=41, count=400), "", "\ud83d", "word " * 3000, *["a", ""] * 50]


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_JOB", 500)


@pytest.fixture(scope="module")
def tokenizer(released: Tokenizer) -> Iterator[Tokenizer]:
    tokenizer = released.with_words("original")
    yield tokenizer
    tokenizer.close()


def test_ids_do_not_depend_on_the_number_of_processes(
    tokenizer: Tokenizer, texts: list[str]
) -> None:
    expected = [tokenizer.encode(text) for text in texts]
    for count in (1, 2, 2):  # the second time by the same workers
        assert tokenizer.encode_batch(texts, workers=count) == expected


@pytest.mark.slow
def test_ids_do_not_depend_on_many_processes(tokenizer: Tokenizer, texts: list[str]) -> None:
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts, workers=5) == expected


def test_workers_do_work_and_end(tokenizer: Tokenizer) -> None:
    pool = workers.Workers(tokenizer, 2)
    process = pool._free.get()
    assert [ids.tolist() for ids in process.encode(["a b", "", "a"])] == [[246, 259], [], [246]]
    pool._free.put(process)
    pool.close()
    assert process._process.returncode == 0


def test_an_error_is_the_same_from_any_process(released: Tokenizer) -> None:
    fast = released.with_words("fast")
    texts = ["fine " * 200] * 50 + ["not \ud83d fine"]
    pool = workers.Workers(fast, 2)
    with pytest.raises(InputError, match="half of a surrogate pair"):
        list(pool.map(texts))
    assert [ids.tolist() for ids in pool.map(["fine"] * 5)] == [fast.encode("fine")] * 5
    process = pool._free.get()
    with pytest.raises(InputError, match="half of a surrogate pair"):
        process.encode(["\ud83d"])
    assert process.encode(["fine"])[0].tolist() == fast.encode("fine")
    pool._free.put(process)
    pool.close()


def test_texts_are_read_not_far_ahead(tokenizer: Tokenizer) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "some words " * 50

    arrays = tokenizer.encode_arrays(endless(), workers=2)
    for _ in range(10):
        next(arrays)
    arrays.close()  # type: ignore[attr-defined]
    assert read < 40


def test_a_lost_worker_costs_no_text(tokenizer: Tokenizer, texts: list[str]) -> None:
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts[:5], workers=2) == expected[:5]
    assert tokenizer._workers is not None
    process = tokenizer._workers._free.get()
    process._process.kill()
    tokenizer._workers._free.put(process)
    assert tokenizer.encode_batch(texts, workers=2) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be stopped there")
def test_a_worker_that_hangs_costs_no_text(
    released: Tokenizer, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = released.with_words("original")
    expected = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts[:5], workers=2) == expected[:5]
    assert tokenizer._workers is not None
    process = tokenizer._workers._free.get()
    os.kill(process._process.pid, signal.SIGSTOP)
    tokenizer._workers._free.put(process)
    monkeypatch.setattr(workers, "_PATIENCE", 0.2)
    monkeypatch.setattr(workers, "_SLOWEST", 1e9)
    monkeypatch.setattr(workers.Workers, "_cancel_one", lambda pool, jobs: None)  # all to workers
    assert tokenizer.encode_batch(texts, workers=2) == expected
    assert process._process.wait(10) == -signal.SIGKILL
    tokenizer.close()

    pool = workers.Workers(tokenizer, 2)
    idle = pool._free.get()
    os.kill(idle._process.pid, signal.SIGSTOP)
    pool.close()
    assert idle._process.returncode == -signal.SIGKILL


def test_a_program_without_a_main_guard_works_and_ends(released: Tokenizer, tmp_path: Path) -> None:
    released.save(tmp_path / "it")
    program = tmp_path / "program.py"
    program.write_text(
        "import gpt1.text.tokenizer as t\n"
        f"tokenizer = t.Tokenizer.load({str(tmp_path / 'it')!r})\n"
        "print(tokenizer.encode_batch(['a', 'b'], workers=2))\n"
    )
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "[[246], [259]]\n"), ran.stderr


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_process_is_an_error(tokenizer: Tokenizer, count: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        tokenizer.encode_batch(["a"], workers=count)
