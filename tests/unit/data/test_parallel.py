"""Several processes give the same ids, in order, whatever goes wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt1.data import parallel
from gpt1.data.parallel import EncoderPool, encode_texts
from gpt1.errors import InputError
from gpt1.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = random.Random(41)
    words = ["can't", "e.g.", "…", "Ünï", "\n", "<unk>", "8)", "&amp;", "http://a.b/c", "日本", "x"]
    odd = [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(200)]
    return [*odd, "", "\ud83d", "word " * 3000, *["a", ""] * 50]


@pytest.fixture(scope="module")
def tokenizer(texts: list[str]) -> Tokenizer:
    return Tokenizer.train(texts, vocab_size=85)


@pytest.fixture
def expected(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return tokenizer.encode_batch(texts)


@pytest.fixture(autouse=True)
def small_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_JOB", 500)


def encode(pool: EncoderPool, texts: list[str]) -> list[list[int]]:
    return [ids.tolist() for ids in pool.encode(texts)]


@pytest.mark.parametrize("count", [1, 2, pytest.param(5, marks=pytest.mark.slow)])
def test_ids_do_not_depend_on_the_number_of_processes(
    tokenizer: Tokenizer, texts: list[str], expected: list[list[int]], count: int
) -> None:
    assert [ids.tolist() for ids in encode_texts(tokenizer, texts, count)] == expected


def test_an_error_is_the_same_from_any_process(tokenizer: Tokenizer) -> None:
    fast = tokenizer.with_words("fast")
    with EncoderPool(fast, 2) as pool:
        (worker,) = pool._workers
        ids = worker.encode(["a b", "", "a"])
        assert [array.tolist() for array in ids] == fast.encode_batch(["a b", "", "a"])
        assert all(array.dtype == fast.dtype for array in ids)
        with pytest.raises(InputError, match="half of a surrogate pair"):
            worker.encode(["\ud83d"])
        assert worker.encode(["fine"])[0].tolist() == fast.encode("fine")
        with pytest.raises(InputError, match="half of a surrogate pair"):
            list(pool.encode(["fine " * 200] * 50 + ["not \ud83d fine"]))
        assert encode(pool, ["fine"] * 5) == [fast.encode("fine")] * 5
    assert worker.process.returncode == 0


def test_texts_are_read_not_far_ahead(tokenizer: Tokenizer) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "some words " * 50

    arrays = encode_texts(tokenizer, endless(), workers=2)
    for _ in range(10):
        next(arrays)
    arrays.close()  # type: ignore[attr-defined]
    assert read < 40


def test_a_lost_worker_costs_no_text(
    tokenizer: Tokenizer, texts: list[str], expected: list[list[int]]
) -> None:
    with EncoderPool(tokenizer, 2) as pool:
        assert encode(pool, texts[:5]) == expected[:5]
        pool._workers[0].process.kill()
        assert encode(pool, texts) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be stopped there")
def test_a_worker_that_hangs_costs_no_text(
    tokenizer: Tokenizer,
    texts: list[str],
    expected: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with EncoderPool(tokenizer, 3) as pool:
        hung, idle = (worker.process for worker in pool._workers)
        assert encode(pool, texts[:5]) == expected[:5]
        os.kill(hung.pid, signal.SIGSTOP)
        monkeypatch.setattr(parallel, "_PATIENCE", 0.2)
        monkeypatch.setattr(parallel, "_SLOWEST", 1e9)
        assert encode(pool, texts) == expected
        assert hung.wait(10) == -signal.SIGKILL
        os.kill(idle.pid, signal.SIGSTOP)
    assert idle.returncode == -signal.SIGKILL


def test_a_program_without_a_main_guard_works_and_ends(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "it")
    program = tmp_path / "program.py"
    program.write_text(
        "from gpt1.data.parallel import encode_texts\n"
        "from gpt1.text.tokenizer import Tokenizer\n"
        f"tokenizer = Tokenizer.load({str(tmp_path / 'it')!r})\n"
        "print([ids.tolist() for ids in encode_texts(tokenizer, ['a', 'b'], workers=2)])\n"
    )
    ids = tokenizer.encode_batch(["a", "b"])
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, f"{ids}\n"), ran.stderr


def test_what_cannot_be_encoded_is_an_error(tokenizer: Tokenizer) -> None:
    for count in (0, -1):
        with pytest.raises(InputError, match="at least 1"):
            encode_texts(tokenizer, ["a"], count)
    with pytest.raises(InputError, match="put it into a list"):
        encode_texts(tokenizer, "one text")
    for workers in (None, 1, 2):
        with pytest.raises(InputError, match="must be a str"):
            list(encode_texts(tokenizer, ["a", 3], workers))  # type: ignore[list-item]
