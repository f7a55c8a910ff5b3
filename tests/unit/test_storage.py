"""Storage: whole or not at all, whatever the disk refuses and wherever the process dies."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

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
        self.left, self.error, self.dies = n, error, dies
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
                    min(arguments[0].iterdir()).unlink()
                raise self.error
            return real(*arguments)

        return call


def read(path: Path) -> dict[str, bytes] | None:
    """Return what a reader sees of a folder."""
    if not path.exists() and not path.with_name(f".{path.name}.old").exists():
        with pytest.raises(CheckpointError, match="there is no folder"):
            storage.Folder(path)
        return None
    folder = storage.Folder(path)
    assert folder.verified
    return {name: folder.read(name) for name in folder.names()}


def every_call(
    monkeypatch: pytest.MonkeyPatch, place: Path, error: BaseException, *, dies: bool
) -> Iterator[tuple[int, Path, Failing]]:
    """Give a fresh place and a disk that fails at its first, second, ... call, until none fails."""
    n, disk = 0, None
    while disk is None or disk.left <= 0:
        n += 1
        assert n < 100
        (place / str(n)).mkdir()
        disk = Failing(n, error, dies=dies)
        yield n, place / str(n) / "it", disk
        monkeypatch.setattr(storage.system, "disk", storage.Disk())


class _anything:
    """Let a death pass."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        return kind is not None and issubclass(kind, Died)


class _refusal:
    """Let a StorageError pass that gives the system's reason, and note it."""

    happened = False

    def __init__(self, number: int) -> None:
        self._reason = os.strerror(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _: object) -> bool:
        self.happened = kind is StorageError and self._reason in str(error)
        return self.happened


REFUSALS = [errno.ENOSPC, errno.EIO, errno.EACCES]


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
def test_a_folder_refused_at_any_call_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, before: dict[str, bytes] | None
) -> None:
    refused = 0
    error = OSError(number, os.strerror(number))
    for _, path, disk in every_call(monkeypatch, tmp_path, error, dies=False):
        if before is not None:
            storage.write_folder(path, before)
        monkeypatch.setattr(storage.system, "disk", disk)
        with _refusal(number) as found:
            storage.write_folder(path, NEW, replace=True)
        refused += found.happened
        if not found.happened and disk.left <= 0:  # only clearing the old one away failed
            assert disk.happened[-1] in ("rename", "remove")
            assert disk.happened.count("flush_folder") == 2
        expected = before if found.happened else NEW
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        assert read(path) == expected
        storage.write_folder(path, {**NEW, "again": b"1"}, replace=True)
        assert read(path) == {**NEW, "again": b"1"}
    assert refused >= 14  # a folder, three files and a manifest, two flushes and a rename


@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
def test_a_folder_cut_off_at_any_call_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes] | None
) -> None:
    seen = []
    for _, path, disk in every_call(monkeypatch, tmp_path, Died(), dies=True):
        if before is not None:
            storage.write_folder(path, before)
        monkeypatch.setattr(storage.system, "disk", disk)
        try:
            storage.write_folder(path, NEW, replace=True)
        except Died:
            pass
        else:
            assert disk.left > 0
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        seen.append(read(path))
        assert seen[-1] in (before, NEW)
        assert read(path) == seen[-1]  # a reader repairs nothing
        storage.write_folder(path, {**NEW, "again": b"1"}, replace=True)
        assert read(path) == {**NEW, "again": b"1"}
    turn = seen.index(NEW)
    assert seen == [before] * turn + [NEW] * (len(seen) - turn)
    assert turn >= 14


def test_a_folder_whose_recovery_is_cut_off_too_is_recovered_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, first, disk in every_call(monkeypatch, tmp_path, Died(), dies=True):
        for again in range(1, 5):
            path = first.with_name(f"it-{again}")
            storage.write_folder(path, OLD)
            monkeypatch.setattr(storage.system, "disk", Failing(n, Died(), dies=True))
            with pytest.raises(Died) if disk.left <= 0 else _anything():
                storage.write_folder(path, NEW, replace=True)
            monkeypatch.setattr(storage.system, "disk", Failing(again, Died(), dies=True))
            with _anything():
                storage.write_folder(path, NEW, replace=True)
            monkeypatch.setattr(storage.system, "disk", storage.Disk())
            assert read(path) in (OLD, NEW)
        monkeypatch.setattr(storage.system, "disk", disk)
        with _anything():
            storage.write_folder(first, NEW)


def test_a_reader_changes_nothing_and_the_next_writer_or_cleaning_up_repairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash came between the two renames, or before the old folder was removed."""
    for name, files in {"done": NEW, ".done.old": OLD, ".it.old": OLD}.items():
        storage.write_folder(tmp_path / name, files)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(storage.system, "disk", Failing(1, Died(), dies=True))
    assert (read(tmp_path / "it"), read(tmp_path / "done")) == (OLD, NEW)
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.setattr(storage.system, "disk", storage.Disk())
    with pytest.raises(StorageError, match="already there"):
        storage.write_folder(tmp_path / "it", NEW)
    storage.clean_up(tmp_path)
    assert [item.name for item in sorted(tmp_path.iterdir())] == ["done", "it"]
    assert (read(tmp_path / "it"), read(tmp_path / "done")) == (OLD, NEW)


def test_what_a_reader_lost_is_never_made_of_the_rest_of_an_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clearing an old folder away is cut off, and then somebody deletes the new one."""
    for _, path, disk in every_call(monkeypatch, tmp_path, Died(), dies=True):
        storage.write_folder(path, OLD)
        monkeypatch.setattr(storage.system, "disk", disk)
        with _anything():
            storage.write_folder(path, NEW, replace=True)
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        if path.exists() and read(path) == NEW:
            storage.remove(path)
            assert read(path) is None


@pytest.mark.parametrize("number", REFUSALS)
@pytest.mark.parametrize("before", [None, b"old content"], ids=["new", "replaced"])
def test_a_file_refused_at_any_call_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, before: bytes | None
) -> None:
    after = b"new content" * 9
    states = []
    error = OSError(number, os.strerror(number))
    for _, path, disk in every_call(monkeypatch, tmp_path, error, dies=False):
        if before is not None:
            path.write_bytes(before)
        monkeypatch.setattr(storage.system, "disk", disk)
        if disk.left <= 5:  # create, write, flush, rename, flush the folder
            with pytest.raises(StorageError, match=os.strerror(number)):
                storage.write_file(path, after)
        else:
            storage.write_file(path, after)
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        states.append(path.read_bytes() if path.exists() else None)
        assert [item.name for item in path.parent.iterdir()] == ["it"] * path.exists()
        storage.write_file(path, b"again")
        assert path.read_bytes() == b"again"
    assert states == [before] * 4 + [after] * 2  # only its place in the folder was not yet flushed


def test_a_file_cut_off_at_any_call_is_the_old_one_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []
    for _, path, disk in every_call(monkeypatch, tmp_path, Died(), dies=True):
        path.write_bytes(b"old")
        monkeypatch.setattr(storage.system, "disk", disk)
        with _anything():
            storage.write_file(path, b"newer")
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        states.append(path.read_bytes())
        storage.write_file(path, b"again")
        assert path.read_bytes() == b"again"
    assert states == [b"old"] * 4 + [b"newer"] * 2


@pytest.mark.parametrize("number", REFUSALS)
def test_a_log_refused_at_any_call_keeps_its_lines_and_takes_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    error = OSError(number, os.strerror(number))
    refused = 0
    for _, path, disk in every_call(monkeypatch, tmp_path, error, dies=False):
        log = storage.Log(path)
        log.append({"n": 1}, {"n": 2})
        monkeypatch.setattr(storage.system, "disk", disk)
        expected = [{"n": 1}, {"n": 2}]
        with _refusal(number) as found:
            log.append({"n": 3}, {"n": 4})
            expected += [{"n": 3}, {"n": 4}]
            log.flush()
        refused += found.happened
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        assert log.read() == expected
        log.append({"n": 5})
        assert log.read() == [*expected, {"n": 5}]
    assert refused == 4  # open, write; open, flush


def test_a_log_cut_off_at_any_call_keeps_its_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [{"n": n} for n in range(1, 5)]
    for _, path, disk in every_call(monkeypatch, tmp_path, Died(), dies=True):
        log = storage.Log(path)
        log.append(*lines[:2])
        monkeypatch.setattr(storage.system, "disk", disk)
        with _anything():
            log.append(*lines[2:])
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        found = log.read()
        assert len(found) >= 2
        assert found == lines[: len(found)]
        log.keep(2)
        log.append({"n": 5})
        assert log.read() == [*lines[:2], {"n": 5}]


def test_a_log_with_a_damaged_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b'{"n": 1}\n{"n"\n{"n": 3}\n')
    with pytest.raises(CorruptError, match=r"log has a damaged line"):
        storage.Log(tmp_path / "log").read()
    assert storage.Log(tmp_path / "none").read() == []
    storage.Log(tmp_path / "none").keep(3)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_disk_that_writes_in_small_parts_writes_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    whole = storage.Disk.write
    monkeypatch.setattr(
        storage.disk, "write", lambda fd, data: whole(storage.disk, fd, data[:size]), raising=False
    )
    storage.write_folder(tmp_path / "it", OLD)
    storage.write_file(tmp_path / "file", OLD["b.bin"])
    assert read(tmp_path / "it") == OLD
    assert (tmp_path / "file").read_bytes() == OLD["b.bin"]


def test_a_disk_that_writes_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.disk, "write", lambda fd, data: 0, raising=False)
    with pytest.raises(StorageError, match="short write"):
        storage.write_folder(tmp_path / "it", OLD)
    assert list(tmp_path.iterdir()) == []


# Reading


@pytest.fixture
def written(tmp_path: Path) -> Path:
    generator = random.Random(0)
    files = {f"{n}.bin": generator.randbytes(n * 100) for n in range(1, 6)}
    storage.write_folder(tmp_path / "it", {**files, "text.json": b'{"a": [1, 2]}'})
    return tmp_path / "it"


def test_any_flipped_bit_of_any_file_is_noticed(written: Path) -> None:
    names = storage.Folder(written).names()
    files = sorted(written.iterdir())
    places = [(file, at, bit) for file in files for at in range(file.stat().st_size)
              for bit in range(8)]  # fmt: skip
    for file, at, bit in random.Random(1).sample(places, 200):
        whole = file.read_bytes()
        data = bytearray(whole)
        data[at] ^= 1 << bit
        file.write_bytes(data)
        for how in ("read", "map"):
            with pytest.raises(CheckpointError):
                [getattr(storage.Folder(written), how)(name) for name in names]
        file.write_bytes(whole)
    assert [storage.Folder(written).read(name) for name in names]


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: b""])
def test_a_file_that_is_shorter_or_longer_is_noticed(
    written: Path, change: Callable[[bytes], bytes]
) -> None:
    (written / "3.bin").write_bytes(change((written / "3.bin").read_bytes()))
    for how in ("read", "map"):
        with pytest.raises(CorruptError, match=r"3.bin is not what was written.*Restore"):
            getattr(storage.Folder(written), how)("3.bin")


def test_a_missing_file_is_noticed_and_a_further_one_is_not_read(written: Path) -> None:
    (written / "3.bin").unlink()
    (written / "more.bin").write_bytes(b"?")
    folder = storage.Folder(written)
    with pytest.raises(CorruptError, match=r"3.bin is gone. Restore"):
        folder.read("3.bin")
    assert "more.bin" not in folder
    with pytest.raises(CheckpointError, match=r"has no file more.bin; it holds 1.bin, 2.bin"):
        folder.read("more.bin")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"3", b"null", b'{"files": 3}', b'{"files": [1]}', b'{"files": {"a": 3}}',
     b'{"file": {}}', b"\xff\xfe", b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_manifest_is_said(written: Path, manifest: bytes) -> None:
    (written / storage.MANIFEST).write_bytes(manifest)
    with pytest.raises(CorruptError, match=r"manifest.json is damaged. Restore"):
        storage.Folder(written)


@pytest.mark.parametrize("name", ["", ".", "..", "../it/1.bin", "a/b", "a\\b", "/etc/hosts", "c:x"])
def test_a_name_that_leads_out_is_refused(written: Path, name: str) -> None:
    for act in (
        lambda: storage.Folder(written).read(name),
        lambda: storage.Folder(written).map(name),
        lambda: storage.write_folder(written.with_name("new"), {name: b""}),
    ):
        with pytest.raises(CheckpointError, match="is not a plain file name"):
            act()
    assert [item.name for item in written.parent.iterdir()] == ["it"]


def test_a_name_that_leads_out_is_refused_in_a_manifest_too(written: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"s")
    entry = {"bytes": 1, "sha256": hashlib.sha256(b"s").hexdigest()}
    (written / storage.MANIFEST).write_text(json.dumps({"files": {"../secret": entry}}))
    with pytest.raises(CheckpointError, match="is not a plain file name"):
        storage.Folder(written).read("../secret")


@pytest.mark.parametrize("manifest", [True, False], ids=["ours", "foreign"])
def test_only_plain_files_are_read(written: Path, tmp_path: Path, manifest: bool) -> None:
    whole = (written / "3.bin").read_bytes()
    (tmp_path / "elsewhere").write_bytes(whole)
    if not manifest:
        (written / storage.MANIFEST).unlink()

    def put(make: Callable[[Path], object]) -> storage.Folder:
        (written / "3.bin").unlink()
        make(written / "3.bin")
        return storage.Folder(written)

    assert put(lambda file: file.symlink_to(tmp_path / "elsewhere")).read("3.bin") == whole
    with pytest.raises(CorruptError if manifest else CheckpointError, match=r"3\.bin"):
        put(lambda file: file.symlink_to(tmp_path / "nowhere")).read("3.bin")
    with pytest.raises(StorageError, match="symbolic links"):
        put(lambda file: file.symlink_to(file)).read("3.bin")
    for kind in (os.mkfifo, Path.mkdir):
        with pytest.raises(CheckpointError, match=r"3.bin is not a plain file"):
            put(kind).map("3.bin")
        if kind is Path.mkdir:
            (written / "3.bin").rmdir()
            (written / "3.bin").write_bytes(whole)
    with pytest.raises(CheckpointError, match="there is no folder"):
        storage.Folder(tmp_path / "elsewhere")


def test_an_empty_file_is_mapped(tmp_path: Path) -> None:
    storage.write_folder(tmp_path / "it", {"empty": b""})
    assert bytes(storage.Folder(tmp_path / "it").map("empty")) == b""
    (tmp_path / "it" / "empty").write_bytes(b"x")
    with pytest.raises(CorruptError):
        storage.Folder(tmp_path / "it").map("empty")


def test_json_that_is_none_is_said(tmp_path: Path) -> None:
    storage.write_folder(tmp_path / "it", {"good": b"[1]", "bad": b"{", "deep": b"[" * 100_000})
    folder = storage.Folder(tmp_path / "it")
    assert folder.json("good") == [1]
    for name in ("bad", "deep"):
        with pytest.raises(CheckpointError, match=f"{name} is not JSON"):
            folder.json(name)


def test_a_foreign_folder_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "a").write_bytes(b"1")
    (tmp_path / "it" / "sub").mkdir()
    folder = storage.Folder(tmp_path / "it")
    assert (folder.verified, folder.names(), folder.read("a")) == (False, ["a"], b"1")
    with pytest.raises(CheckpointError, match="has no file b; it holds a"):
        folder.read("b")


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
        storage.check_free(tmp_path / "empty", replace=True)


def test_a_block_left_by_an_exception_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"some"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        storage.write_folder(tmp_path / "it", {"a": b"1", "b": chunks()})
    assert list(tmp_path.iterdir()) == []


def test_removing_is_whole_even_when_it_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for _, path, disk in every_call(monkeypatch, tmp_path, Died(), dies=True):
        storage.write_folder(path, OLD)
        monkeypatch.setattr(storage.system, "disk", disk)
        with _anything():
            storage.remove(path)
        monkeypatch.setattr(storage.system, "disk", storage.Disk())
        seen.append(read(path))
    assert seen == [OLD, None, None]


def test_a_folder_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    storage.write_folder(tmp_path / "model", {"config.json": b"{}", "model.safetensors": b"1"})
    with pytest.raises(StorageError, match="does not write over"):
        storage.write_folder(tmp_path / "model", {"config.json": b"2"}, replace=True)
    assert storage.Folder(tmp_path / "model").read("model.safetensors") == b"1"
