"""SIGKILL at a persistence operation, clean or torn, then resume: the run never interrupted.

Each run is a fork of this process, so torch is loaded once. Counted too: how many updates are made
again, since a saver that loses every checkpoint also ends with the right weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import gpt1
from gpt1 import storage
from gpt1.data.shards import write_shards
from gpt1.data.tables import open_texts
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import loop, start

STEPS, EVERY = 6, 2
SIZE = "[model]\nvocab_size = 80\nn_ctx = 8\nn_embd = 8\nn_layer = 1\nn_head = 2\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("corpus")
    texts = [f"the cat sat on mat {n} and the dog ran to {n + 1}" for n in range(40)]
    tokenizer = Tokenizer.train(texts, vocab_size=50)
    (place / "size.toml").write_text(SIZE)
    (place / "text.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    write_shards(place / "shards", open_texts(place / "text.jsonl"), tokenizer, workers=1)
    return place


def train(corpus: Path, out: Path, *, resume: bool) -> None:
    gpt1.pretrain(
        corpus / "shards", valid=corpus / "shards", size=str(corpus / "size.toml"), out=out,
        resume=resume,
        overrides=[f"train.steps={STEPS}", f"train.save_every={EVERY}", "train.batch_size=2",
                   "train.dtype=float32", "train.eval_every=3"],
    )  # fmt: skip


def in_a_child(work: Callable[[], None]) -> int:
    """Run `work` in a fork; return the signal that ended it, 0 if it came to its end."""
    child = os.fork()
    if child == 0:
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            start.write_curves = lambda run: None  # a picture takes longer than the run
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    assert os.WEXITSTATUS(status) == 0, "the run failed"
    return 0


def killing(at: int, torn: bool) -> type[storage.Disk]:
    """Return a disk whose operation number `at` is the process's last, half done if `torn`."""

    class Dying(storage.Disk):
        done = 0

        def _count(self) -> None:
            Dying.done += 1
            if Dying.done == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def write(self, fd: int, data: bytes | memoryview) -> int:
            if torn and Dying.done + 1 == at:
                os.write(fd, memoryview(data)[: len(data) // 2])
            self._count()
            return super().write(fd, data)

    for name in ("make_folder", "create", "open_append", "flush", "rename", "truncate", "remove",
                 "flush_folder"):  # fmt: skip

        def method(self: Dying, *arguments: object, name: str = name) -> object:
            self._count()
            return getattr(storage.Disk, name)(self, *arguments)

        setattr(Dying, name, method)
    return Dying


def killed(corpus: Path, out: Path, at: int, torn: bool, *, resume: bool = False) -> int:
    def work() -> None:
        storage.disk = killing(at, torn)()
        train(corpus, out, resume=resume)

    return in_a_child(work)


def resumed(corpus: Path, out: Path) -> int:
    """Go on with a run, or start it if it never began; return how many updates were made."""
    made, made_by_child = os.pipe()

    def work() -> None:
        update, count = loop._update, 0

        def counting(*arguments: object) -> object:
            nonlocal count
            count += 1
            return update(*arguments)  # type: ignore[arg-type]

        loop._update = counting  # type: ignore[assignment]
        train(corpus, out, resume=(out / "run.json").is_file())
        os.write(made_by_child, str(count).encode())

    assert in_a_child(work) == 0
    os.close(made_by_child)
    with os.fdopen(made) as pipe:
        return int(pipe.read())


def digest(out: Path) -> str:
    """Hash what a run comes to: weights, optimizer, log without its times, best, result."""
    found = hashlib.sha256()
    newest = max((out / "checkpoints").glob("step-*"))
    for path in (newest / "model.safetensors", newest / "optimizer.safetensors",
                 out / "model" / "model.safetensors"):  # fmt: skip
        found.update(path.read_bytes())
    for line in storage.Log(out / "metrics.jsonl").read():
        kept = {k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")}
        found.update(json.dumps(kept, sort_keys=True).encode())
    return found.hexdigest()


def newest_step(out: Path) -> int:
    steps = [int(path.name.removeprefix("step-")) for path in (out / "checkpoints").glob("step-*")]
    return max(steps, default=0)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("whole") / "run"
    assert in_a_child(lambda: train(corpus, out, resume=False)) == 0
    return digest(out)


@pytest.fixture(scope="module")
def last(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many operations a run makes."""
    place = tmp_path_factory.mktemp("count")

    def work() -> None:
        disk = killing(0, False)
        storage.disk = disk()
        train(corpus, place / "run", resume=False)
        (place / "count").write_text(str(disk.done))  # type: ignore[attr-defined]

    assert in_a_child(work) == 0
    return int((place / "count").read_text())


def check(corpus: Path, out: Path, at: int, torn: bool, whole: str) -> None:
    assert killed(corpus, out, at, torn) == signal.SIGKILL
    before = newest_step(out)
    assert resumed(corpus, out) == STEPS - before  # nothing that was saved is made again
    assert digest(out) == whole


@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
def test_killed_at_some_operations_the_run_is_the_same(
    corpus: Path, whole: str, last: int, tmp_path: Path, torn: bool
) -> None:
    for at in range(1 + torn, last + 1, max(1, last // 6)):
        check(corpus, tmp_path / f"at{at}", at, torn, whole)


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
def test_killed_at_any_operation_the_run_is_the_same(
    corpus: Path, whole: str, last: int, tmp_path: Path, torn: bool
) -> None:
    for at in range(1, last + 1):
        check(corpus, tmp_path / f"at{at}", at, torn, whole)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_killed_again_while_it_resumes_the_run_is_the_same(
    corpus: Path, whole: str, last: int, tmp_path: Path
) -> None:
    for at in range(1, last + 1, 3):
        out = tmp_path / f"at{at}"
        assert killed(corpus, out, at, False) == signal.SIGKILL
        killed(corpus, out, at // 2 + 1, True, resume=(out / "run.json").is_file())
        resumed(corpus, out)
        assert digest(out) == whole
