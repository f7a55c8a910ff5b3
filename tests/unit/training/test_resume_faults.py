"""What is wrong with a run's folder is said before it trains, and nothing of it is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import runs
from runs import Corpus

from gpt1 import storage
from gpt1.errors import CorruptError, GPT1Error, Interrupted, StorageError, TrainingError
from gpt1.training.step import Updater

SHAPE = {"n_ctx": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
SETTINGS = ("train.batch_size=2", "train.dtype=float32", 'train.sample_prompt=""')
STEPS = ("train.steps=4", "train.save_every=2")


@pytest.fixture
def cut(corpus: Corpus, tmp_path: Path) -> Path:
    """A run that was cut off after its third update, one after its checkpoint."""
    runs.cut_off(corpus, tmp_path / "run", *STEPS, after=3)
    return tmp_path / "run"


def _edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def act(run: Path) -> None:
        (run / name).write_bytes(change((run / name).read_bytes()))

    return act


def _link(name: str) -> Callable[[Path], None]:
    def act(run: Path) -> None:
        (run / name).unlink()
        (run / name).symlink_to(run.parent / "precious")

    return act


FAULTS: dict[str, tuple[Callable[[Path], None], type[GPT1Error], str]] = {
    "log gone": (lambda run: (run / "metrics.jsonl").unlink(), CorruptError, "is gone: it does"),
    "log empty": (_edit("metrics.jsonl", lambda d: b""), CorruptError, "metrics.jsonl is gone"),
    "log shorter": (_edit("metrics.jsonl", lambda d: d[:90]), CorruptError, "jsonl is damaged"),
    "log flipped": (
        _edit("metrics.jsonl", lambda d: d.replace(b'"step": 1', b'"step": 3', 1)),
        CorruptError,
        "does not start with the",
    ),
    "record flipped": (
        _edit("run.json", lambda d: d.replace(b'"seed": 0', b'"seed": 1', 1)),
        CorruptError,
        "run.json is damaged",
    ),
    "record not JSON": (_edit("run.json", lambda d: d[:-9]), CorruptError, "run.json is damaged"),
    "record of digits": (
        _edit("run.json", lambda d: b'{"a": ' + b"9" * 5000 + b"}"), CorruptError, "is damaged",
    ),
    "lock a link": (_link("lock"), StorageError, "lock: it is a symbolic link.*Remove the link"),
    "log a link": (_link("metrics.jsonl"), GPT1Error, "metrics.jsonl"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_before_training_and_all_stays(
    corpus: Corpus, cut: Path, fault: str
) -> None:
    harm, error, said = FAULTS[fault]
    (cut.parent / "precious").write_bytes(b"mine")
    harm(cut)
    before = {p: p.read_bytes() for p in cut.rglob("*") if p.is_file() and p.name != "lock"}
    with (
        mock.patch.object(Updater, "update", side_effect=AssertionError),
        pytest.raises(error, match=said),
    ):
        corpus.train(cut, *STEPS, resume=True)
    assert {p: p.read_bytes() for p in before} == before
    assert (cut.parent / "precious").read_bytes() == b"mine"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_a_checkpoint_that_cannot_be_read_is_not_a_damaged_one(
    corpus: Corpus, cut: Path, number: int
) -> None:
    real = os.open

    def refuse(path: object, *more: int, **named: int) -> int:
        if str(path).endswith("optimizer.safetensors"):
            raise OSError(number, os.strerror(number))
        return real(path, *more, **named)  # type: ignore[call-overload, no-any-return]

    with (
        mock.patch.object(os, "open", refuse),
        pytest.raises(StorageError, match=os.strerror(number)),
    ):
        corpus.train(cut, *STEPS, resume=True)
    assert (cut / "checkpoints" / "step-00000002" / "optimizer.safetensors").is_file()
    corpus.train(cut, *STEPS, resume=True)


def test_another_base_model_and_other_threads_are_told(tmp_path: Path) -> None:
    import gpt1
    from gpt1.training.resume import find_changes

    base = gpt1.load("mini")
    settings = ["train.steps=2", "train.batch_size=1"]
    texts = [f"a text of its own, number {n}" for n in range(4)]
    with (
        mock.patch.object(Updater, "update", side_effect=RuntimeError("cut off")),
        pytest.raises(RuntimeError, match="cut off"),
    ):
        base.finetune(texts, out=tmp_path / "run", overrides=settings)
    base.model.tokens.weight.data[0, 0] += 1.0
    with pytest.raises(TrainingError, match="the base model is another one"):
        base.finetune(texts, out=tmp_path / "run", resume=True, overrides=settings)
    (said,) = find_changes({"threads": 2, "torch": "x"}, {"threads": 1, "torch": "x"})
    assert said.startswith("threads was 2 and is 1: the run goes on, but not bit for bit")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows")
def test_a_closed_terminal_saves_as_sigterm_does(corpus: Corpus, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it is ignored under nohup

    def act(updater: Updater, number: int) -> None:
        if number == 2:
            os.kill(os.getpid(), signal.SIGHUP)

    try:
        with pytest.MonkeyPatch.context() as patch:
            runs.before_updates(patch, act)
            with pytest.raises(Interrupted, match="stopped after update 3 of 4, as asked"):
                corpus.train(tmp_path / "run", *STEPS)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (tmp_path / "run" / "checkpoints" / "step-00000003").is_dir()


def test_the_record_carries_its_checksum(tmp_path: Path) -> None:
    storage.write_record(tmp_path / "it", {"b": 1.5, "a": {"ü": None}})
    assert storage.read_record(tmp_path / "it") == {"b": 1.5, "a": {"ü": None}}
    values = json.loads((tmp_path / "it").read_text())
    assert len(values.pop("sha256")) == 64
    (tmp_path / "it").write_text(json.dumps(values))  # of an earlier gpt1
    assert storage.read_record(tmp_path / "it") == values
