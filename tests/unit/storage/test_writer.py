"""Writing: whole or not at all, whatever the disk refuses and wherever the process dies."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from gpt1 import storage
from gpt1.errors import CheckpointError, CorruptError, StorageError

OLD = {"a.txt": b"old " * 50, "b.bin": bytes(range(256))}
NEW = {"a.txt": b"newer " * 70, "b.bin": b"", "only-new": b"y" * 1000}
CALLS = [name for name in vars(storage.Disk) if not name.startswith("_")]


class Died(BaseException):
    """The process is gone: nothing that comes after it happens."""


class Failing(storage.Disk):
    """A disk whose n-th call fails; `after` tells what becomes of the later ones.

    A write that fails has written half of its bytes, a removal has removed the first file.
    """

    def __init__(self, n: int, error: BaseException, *, dies: bool) -> None:
        self.n, self.left, self.error, self.dies = n, n, error, dies
        self.happened: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name not in CALLS:
            return object.__getattribute__(self, name)
        real = object.__getattribute__(self, name)

        def call(*arguments: Any) -> Any:
            if self.dies and self.left <= 0:
                raise self.error
            self.left -= 1
            self.happened.append(name)
            if self.left == 0:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                if name == "remove" and arguments[0].is_dir():
                    for file in sorted(arguments[0].iterdir())[:1]:
                        file.unlink()
                raise self.error
            return real(*arguments)

        return call


def read(path: Path) -> dict[str, bytes] | None:
    """Return what a reader sees of a folder."""
    if not storage.existing(path).exists():
        with pytest.raises(CheckpointError, match="there is no folder"):
            storage.Folder(path)
        return None
    folder = storage.Folder(path)
    assert folder.verified
    return {name: folder.read(name) for name in folder.names()}


def every_call(place: Path, error: BaseException, *, dies: bool) -> Iterator[tuple[Path, Failing]]:
    """Give a fresh path and a disk that fails at its first, second, ... call, until none fails."""
    for n in range(1, 100):
        (place / str(n)).mkdir()
        disk = Failing(n, error, dies=dies)
        yield place / str(n) / "it", disk
        if disk.left > 0:
            return


@contextmanager
def using(disk: Failing) -> Iterator[None]:
    """Let storage use another disk within the block; a death ends it, and nothing swallows it."""
    with mock.patch.object(storage.system, "disk", disk):
        try:
            yield
            assert disk.left > 0 or not disk.dies
        except Died:
            pass


def refuses(disk: Failing, act: Callable[[], object]) -> bool:
    """Return whether `act` fails on the disk, with a StorageError that gives the reason."""
    with using(disk):
        try:
            act()
        except StorageError as error:
            return str(disk.error.args[1]) in str(error)
    return False


REFUSALS = [OSError(n, os.strerror(n)) for n in (errno.ENOSPC, errno.EIO, errno.EACCES)]
refusals = pytest.mark.parametrize("error", REFUSALS, ids=str)
earlier = pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])


@refusals
@earlier
def test_a_folder_refused_at_any_call_leaves_what_was_there(
    tmp_path: Path, error: OSError, before: dict[str, bytes] | None
) -> None:
    refused = 0
    for path, disk in every_call(tmp_path, error, dies=False):
        if before is not None:
            storage.write_folder(path, before)
        failed = refuses(disk, lambda path=path: storage.write_folder(path, NEW, replace=True))
        refused += failed
        if not failed and disk.left <= 0:  # only clearing the old one away failed
            assert disk.happened[-1] == "remove"
            assert disk.happened.count("flush_folder") == 2
        assert read(path) == (before if failed else NEW)
        storage.write_folder(path, {**NEW, "again": b"1"}, replace=True)
        assert read(path) == {**NEW, "again": b"1"}
    assert refused >= 14  # a folder, three files and a manifest, two flushes and a rename


@earlier
def test_a_folder_cut_off_at_any_call_is_the_old_one_or_the_new_one(
    tmp_path: Path, before: dict[str, bytes] | None
) -> None:
    seen = []
    for path, disk in every_call(tmp_path, Died(), dies=True):
        if before is not None:
            storage.write_folder(path, before)
        with using(disk):
            storage.write_folder(path, NEW, replace=True)
        seen.append(read(path))
        assert read(path) == seen[-1]  # a reader repairs nothing
        storage.write_folder(path, {**NEW, "again": b"1"}, replace=True)
        assert read(path) == {**NEW, "again": b"1"}
    turn = seen.index(NEW)
    assert seen == [before] * turn + [NEW] * (len(seen) - turn)
    assert turn >= 14


def test_a_folder_whose_recovery_is_cut_off_too_is_recovered_the_next_time(tmp_path: Path) -> None:
    for first, disk in every_call(tmp_path, Died(), dies=True):
        for again in range(1, 5):
            path = first.with_name(f"it-{again}")
            storage.write_folder(path, OLD)
            for n in (disk.n, again):
                with using(Failing(n, Died(), dies=True)):
                    storage.write_folder(path, NEW, replace=True)
            assert read(path) in (OLD, NEW)
        with using(disk):
            storage.write_folder(first, NEW)


def test_a_reader_changes_nothing_and_the_next_writer_or_cleaning_up_repairs(
    tmp_path: Path,
) -> None:
    """A crash came amid a replacement in several steps, or before the old folder was removed."""
    old = ".{}.old-gpt1-abcdefgh"
    for name, files in {"done": NEW, old.format("done"): OLD, old.format("it"): OLD}.items():
        storage.write_folder(tmp_path / name, files)
    before = sorted(tmp_path.iterdir())
    with mock.patch.object(storage.system, "disk", None):  # no call is made
        assert (read(tmp_path / "it"), read(tmp_path / "done")) == (OLD, NEW)
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(StorageError, match="already there"):
        storage.write_folder(tmp_path / "it", NEW)
    storage.check_free(tmp_path / "done", OLD.keys() | NEW.keys())
    assert [item.name for item in sorted(tmp_path.iterdir())] == ["done", "it"]
    assert (read(tmp_path / "it"), read(tmp_path / "done")) == (OLD, NEW)


def test_a_removed_folder_is_never_replaced_by_an_old_one(tmp_path: Path) -> None:
    """Clearing an old folder away is cut off, and then somebody deletes the new one."""
    for path, disk in every_call(tmp_path, Died(), dies=True):
        storage.write_folder(path, OLD)
        with using(disk):
            storage.write_folder(path, NEW, replace=True)
        if path.exists() and read(path) == NEW:
            storage.remove(path)
            assert read(path) is None


@refusals
@pytest.mark.parametrize("before", [None, b"old content"], ids=["new", "replaced"])
def test_a_file_refused_at_any_call_is_whole(
    tmp_path: Path, error: OSError, before: bytes | None
) -> None:
    after = b"new content" * 9
    states = []
    for path, disk in every_call(tmp_path, error, dies=False):
        if before is not None:
            path.write_bytes(before)
        failed = refuses(disk, lambda path=path: storage.write_file(path, after, replace=True))
        assert failed == (disk.n <= 5)  # create, write, flush, rename, flush the folder
        states.append(path.read_bytes() if path.exists() else None)
        assert [item.name for item in path.parent.iterdir()] == ["it"] * path.exists()
        storage.write_file(path, b"again", replace=True)
        assert path.read_bytes() == b"again"
    assert states == [before] * 4 + [after] * 2  # only its place in the folder was not yet flushed


def test_a_file_cut_off_at_any_call_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    states = []
    for path, disk in every_call(tmp_path, Died(), dies=True):
        path.write_bytes(b"old")
        with using(disk):
            storage.write_file(path, b"newer", replace=True)
        states.append(path.read_bytes())
        storage.write_file(path, b"again", replace=True)
        assert path.read_bytes() == b"again"
    assert states == [b"old"] * 4 + [b"newer"] * 2


@refusals
def test_a_log_refused_at_any_call_keeps_its_lines_and_takes_new_ones(
    tmp_path: Path, error: OSError
) -> None:
    refused = 0
    for path, disk in every_call(tmp_path, error, dies=False):
        log = storage.Log(path)
        log.append({"n": 1}, {"n": 2})
        appended = not refuses(disk, lambda log=log: log.append({"n": 3}, {"n": 4}))
        flushed = appended and not refuses(disk, log.flush)
        refused += not flushed
        expected = [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}][: 4 if appended else 2]
        assert log.read() == expected
        log.append({"n": 5})
        assert log.read() == [*expected, {"n": 5}]
    assert refused == 4  # open, write; open, flush


def test_a_log_cut_off_at_any_call_keeps_its_whole_lines(tmp_path: Path) -> None:
    lines = [{"n": n} for n in range(1, 5)]
    for path, disk in every_call(tmp_path, Died(), dies=True):
        log = storage.Log(path)
        log.append(*lines[:2])
        with using(disk):
            log.append(*lines[2:])
        kept = log.read()
        assert len(kept) >= 2
        assert kept == lines[: len(kept)]
        log.keep(2)
        log.append({"n": 5})
        assert log.read() == [*lines[:2], {"n": 5}]


def test_a_log_with_a_damaged_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"n": 1}\n{"n"\n{"n": 3}\n')
    with pytest.raises(CorruptError, match=r"log has a damaged line"):
        storage.Log(tmp_path / "log").read()
    assert storage.Log(tmp_path / "none").read() == []
    with pytest.raises(CorruptError, match="none is gone: it does not start with the 3 lines"):
        storage.Log(tmp_path / "none").keep(3)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_disk_that_writes_in_small_parts_writes_it_all(tmp_path: Path, size: int) -> None:
    with mock.patch.object(storage.disk, "write", lambda fd, data: os.write(fd, data[:size])):
        storage.write_folder(tmp_path / "it", OLD)
        storage.write_file(tmp_path / "file", OLD["b.bin"])
    assert read(tmp_path / "it") == OLD
    assert (tmp_path / "file").read_bytes() == OLD["b.bin"]


def test_a_disk_that_writes_nothing_is_not_waited_for(tmp_path: Path) -> None:
    nothing = mock.patch.object(storage.disk, "write", return_value=0)
    with nothing, pytest.raises(StorageError, match="short write"):
        storage.write_folder(tmp_path / "it", OLD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_what_gpt1_has_not_made_is_not_written_over(tmp_path: Path, replace: bool) -> None:
    (tmp_path / "file").write_bytes(b"1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_bytes(b"1")
    (tmp_path / "empty").mkdir()
    for name in ("file", "full"):
        with pytest.raises(StorageError, match=f"{name} is already there.*Choose another"):
            storage.write_folder(tmp_path / name, OLD, replace=replace)
    storage.write_folder(tmp_path / "empty", OLD, replace=replace)
    assert read(tmp_path / "empty") == OLD
    assert (tmp_path / "file").read_bytes() == (tmp_path / "full" / "a").read_bytes() == b"1"
    if not replace:
        with pytest.raises(StorageError, match="already there"):
            storage.check_free(tmp_path / "empty")
    else:
        storage.check_free(tmp_path / "empty", OLD)


def test_a_block_left_by_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        storage.write_folder(tmp_path / "it", {"a": b"1", "b": chunks()})
    assert list(tmp_path.iterdir()) == []


def test_removing_is_whole_even_when_it_is_cut_off(tmp_path: Path) -> None:
    seen = []
    for path, disk in every_call(tmp_path, Died(), dies=True):
        storage.write_folder(path, OLD)
        with using(disk):
            storage.remove(path)
        seen.append(read(path))
    assert seen == [OLD, None, None]


def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    storage.write_folder(tmp_path / "model", {"config.json": b"{}", "model.safetensors": b"1"})
    with pytest.raises(StorageError, match="does not write over"):
        storage.write_folder(tmp_path / "model", {"config.json": b"2"}, replace=True)
    assert storage.Folder(tmp_path / "model").read("model.safetensors") == b"1"
