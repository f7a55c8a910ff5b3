"""A damaged checkpoint: always noticed before a tensor leaves it, and the one before it is used."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import harness
import pytest
from harness import Trainer, Whole

from gpt1 import storage
from gpt1.errors import CheckpointError, CorruptError
from gpt1.training import run

Files = dict[str, bytes]


@pytest.fixture
def out(whole: Whole, place: Path) -> Path:
    """A run that ended before its result was written."""
    shutil.copytree(whole.out, place / "run")
    shutil.rmtree(place / "run" / "model")
    return place / "run"


def files(checkpoint: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(checkpoint.iterdir())}


def flips(checkpoint: Path, count: int) -> int:
    """Flip one bit at `count` places, one after the other; return how often nobody noticed.

    Half of the places are spread over all bits, half over the files, however small.
    """
    whole, missed = files(checkpoint), 0
    numbers = harness.generator("flips")
    names, sizes = list(whole), [len(data) for data in whole.values()]
    for n in range(count):
        (name,) = numbers.choices(names, sizes if n % 2 else None)
        damaged = bytearray(whole[name])
        damaged[numbers.randrange(len(damaged))] ^= 1 << numbers.randrange(8)
        (checkpoint / name).write_bytes(damaged)
        try:
            run.Checkpoint.read(checkpoint)
            missed += 1
        except CheckpointError as error:
            missed += str(checkpoint) not in str(error)
        (checkpoint / name).write_bytes(whole[name])
    assert run.Checkpoint.read(checkpoint)
    return missed


@pytest.mark.parametrize("count", [2000, harness.long(100_000)])
def test_one_flipped_bit_is_always_noticed(out: Path, count: int) -> None:
    assert flips(harness.checkpoints(out)[-1], count) == 0


def test_a_reader_that_does_not_compare_is_noticed(out: Path) -> None:
    newest = harness.checkpoints(out)[-1]
    whole = files(newest)
    with mock.patch.object(storage.Folder, "_compare", return_value=None):
        for name in (MODEL, MOMENTS):
            (newest / name).write_bytes(_flip(name)(whole, {})[name])
            assert run.Checkpoint.read(newest)
            (newest / name).write_bytes(whole[name])


def _flip(name: str) -> Callable[[Files, Files], Files]:
    def change(newest: Files, before: Files) -> Files:
        data = bytearray(newest[name])
        data[len(data) // 2] ^= 1
        return {**newest, name: bytes(data)}

    return change


MODEL, MOMENTS, STATE, CONFIG = (
    "model.safetensors", "optimizer.safetensors", "state.json", "config.json",
)  # fmt: skip
DAMAGE: dict[str, Callable[[Files, Files], Files]] = {
    **{f"a bit of {name}": _flip(name) for name in (MODEL, MOMENTS, STATE, CONFIG, "README.md")},
    "cut short": lambda newest, before: {**newest, MODEL: newest[MODEL][:-1]},
    "too long": lambda newest, before: {**newest, MODEL: newest[MODEL] + b"\0"},
    "empty": lambda newest, before: {**newest, STATE: b""},
    "swapped": lambda newest, before: {
        **newest, MODEL: newest[MOMENTS], MOMENTS: newest[MODEL],
    },
    **{
        f"without {name}": lambda newest, before, name=name: {
            n: data for n, data in newest.items() if n != name
        }
        for name in (MODEL, MOMENTS, STATE, CONFIG, "vocab.json", storage.MANIFEST)
    },
    **{
        f"an older {name}": lambda newest, before, name=name: {**newest, name: before[name]}
        for name in (MODEL, MOMENTS, STATE, storage.MANIFEST)
    },
    "nothing at all": lambda newest, before: {},
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    trainer: Trainer, whole: Whole, out: Path, damage: str
) -> None:
    before, newest = harness.checkpoints(out)
    changed = DAMAGE[damage](files(newest), files(before))
    for path in newest.iterdir():
        path.unlink()
    for name, data in changed.items():
        (newest / name).write_bytes(data)
    made = trainer.made
    trainer.notes.clear()
    trainer.train(out)
    said = [note for note in trainer.notes if newest.name in note]
    assert said
    assert "The checkpoint before it is used." in said[0]
    assert trainer.made - made == harness.EVERY
    assert harness.digest(out) == whole.digest


def test_where_every_checkpoint_is_damaged_the_run_does_not_begin_anew(
    trainer: Trainer, out: Path
) -> None:
    for checkpoint in harness.checkpoints(out):
        (checkpoint / STATE).write_bytes(b"{}")
    before = (out / "metrics.jsonl").read_bytes()
    with pytest.raises(CorruptError, match=r"No checkpoint in .* is whole"):
        trainer.train(out)
    assert (out / "metrics.jsonl").read_bytes() == before
    assert len(harness.checkpoints(out)) == 2
