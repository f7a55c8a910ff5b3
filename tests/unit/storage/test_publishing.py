"""Publishing replaces nothing that was not there at the start and made by gpt1."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from gpt1 import storage
from gpt1.errors import StorageError
from gpt1.storage import system

OLD, NEW = {"a": b"old", "b": b"1"}, {"a": b"new", "b": b"2"}


def _file(path: Path) -> None:
    path.write_bytes(b"mine")


def _folder(path: Path) -> None:
    path.mkdir(exist_ok=True)
    (path / "notes.txt").write_bytes(b"mine")


def _swap(path: Path) -> None:
    if path.exists():
        path.rename(path.with_name("elsewhere"))
    storage.write_folder(path, {"a": b"of another command"})


def _edit(path: Path) -> None:
    path.mkdir(exist_ok=True)
    (path / "a").write_bytes(b"edited by hand")


APPEARS = {
    "a file": _file, "a folder": _folder, "a result": _swap, "an empty folder": Path.mkdir,
    "a link": lambda path: path.symlink_to("nowhere"),
}  # fmt: skip
CHANGES = {"a note in it": _folder, "another result": _swap, "an edit": _edit}


def tree(place: Path) -> dict[str, bytes | None]:
    return {
        str(p.relative_to(place)): p.read_bytes() if p.is_file() else None for p in place.rglob("*")
    }


@pytest.fixture(params=["in one step", "in several steps"], autouse=True)
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in several steps":
        monkeypatch.setattr(system, "_rename", lambda *_: False)


@pytest.mark.parametrize("what", APPEARS)
def test_what_appears_meanwhile_stays(tmp_path: Path, what: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"new"
        APPEARS[what](tmp_path / "out")

    with pytest.raises(StorageError, match="made or changed by something else"):
        storage.write_folder(tmp_path / "out", {"a": chunks()})
    APPEARS[what](tmp_path / "expected")
    assert tree(tmp_path / "out") == tree(tmp_path / "expected")
    assert os.path.lexists(tmp_path / "out")
    assert not list(tmp_path.glob(".out.*"))


@pytest.mark.parametrize("start", [None, OLD], ids=["an empty folder", "an earlier result"])
@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_meanwhile_stays(
    tmp_path: Path, start: dict[str, bytes] | None, change: str
) -> None:
    out = tmp_path / "out"
    out.mkdir() if start is None else storage.write_folder(out, start)
    before = {}

    def chunks() -> Iterator[bytes]:
        yield b"new"
        CHANGES[change](out)
        before.update(tree(out))

    with pytest.raises(StorageError, match="made or changed by something else"):
        storage.write_folder(out, {**NEW, "a": chunks()}, replace=True)
    assert tree(out) == before
    assert not list(tmp_path.glob(".out.*"))


def test_an_earlier_result_is_replaced_unless_something_was_added(tmp_path: Path) -> None:
    out, neighbours = tmp_path / "out", (".out.old", ".out.new-mine", ".out.gone")
    for name in neighbours:
        storage.write_folder(tmp_path / name, OLD)
    storage.write_folder(out, OLD)
    storage.write_folder(out, NEW, replace=True)
    assert storage.Folder(out).read("a") == b"new"
    (out / "notes.txt").write_bytes(b"mine")
    with pytest.raises(StorageError, match="already there"):
        storage.write_folder(out, OLD, replace=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["out", *neighbours])


def test_a_file_is_new_or_replaced_as_asked(tmp_path: Path) -> None:
    storage.write_file(tmp_path / "it", b"1")
    with pytest.raises(StorageError, match="made or changed by something else"):
        storage.write_file(tmp_path / "it", b"2")
    assert (tmp_path / "it").read_bytes() == b"1"
    storage.write_file(tmp_path / "it", b"2", replace=True)
    assert tree(tmp_path) == {"it": b"2"}


def test_a_file_of_its_own_is_written_anew_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "run" / "page.html"
    rename = system.disk.rename

    def crash(old: Path, new: Path) -> None:
        if new == page:
            raise KeyboardInterrupt
        rename(old, new)

    assert [storage.update_file(page, data) for data in (b"1", b"2", b"2")] == [False, True, True]
    with (
        mock.patch.object(system.disk, "rename", crash),
        pytest.raises(KeyboardInterrupt),  # as if killed in between
    ):
        storage.update_file(page, b"3")
    storage.update_file(page, b"4")
    storage.update_file(page.with_name("other"), b"4")
    for change in (
        lambda: page.write_bytes(b"edited"),
        lambda: page.write_bytes(b"1"),
        lambda: (page.unlink(), page.symlink_to("other")),
        lambda: (page.unlink(), page.mkdir()),
    ):
        change()
        before = tree(tmp_path)
        with pytest.raises(StorageError, match=r"not as gpt1 wrote it.*Move it away"):
            storage.update_file(page, b"5")
        assert tree(tmp_path) == before
    page.rmdir()
    assert not storage.update_file(page, b"6")
    (page.parent / "written.json").write_bytes(b"{}[")
    with pytest.raises(StorageError, match="not as gpt1 wrote it"):
        storage.update_file(page, b"7")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows")
def test_what_a_killed_writer_left_goes_with_the_next_and_a_living_one_stays(
    tmp_path: Path,
) -> None:
    child = os.fork()
    if not child:
        storage.FolderWriter(tmp_path / "a").__enter__().add("a", b"1")
        os._exit(0)
    os.waitpid(child, 0)
    assert list(tmp_path.glob(".a.new-*"))
    with storage.FolderWriter(tmp_path / "b") as living:
        living.add("a", b"1")
        storage.write_folder(tmp_path / "c", NEW)
        assert not list(tmp_path.glob(".a.new-*"))
    assert storage.Folder(tmp_path / "b").read("a") == b"1"


@pytest.mark.parametrize("act", ["append", "flush", "keep"])
def test_a_link_is_not_followed(tmp_path: Path, act: str) -> None:
    (tmp_path / "precious").write_bytes(b'{"mine": 1}\n')
    (tmp_path / "log").symlink_to("precious")
    log = storage.Log(tmp_path / "log")
    acts: dict[str, Callable[[], None]] = {
        "append": lambda: log.append({"n": 1}), "flush": log.flush, "keep": lambda: log.keep(0),
    }  # fmt: skip
    with pytest.raises(StorageError, match=r"log: it is a symbolic link.*Remove the link"):
        acts[act]()
    assert (tmp_path / "precious").read_bytes() == b'{"mine": 1}\n'


def test_a_system_that_cannot_exchange_recovers_from_a_crash(tmp_path: Path) -> None:
    out = tmp_path / "out"
    storage.write_folder(out, OLD)
    real = os.rename

    def crash(old: Path, new: Path) -> None:
        if ".new-" in str(old):
            raise OSError(errno.EIO, "crash")
        if ".old-" not in str(old):  # nor is it put back
            real(old, new)

    with (
        mock.patch.object(system, "_rename", return_value=False),
        mock.patch.object(os, "rename", crash),
        pytest.raises(StorageError),
    ):
        storage.write_folder(out, NEW, replace=True)
    assert storage.Folder(out).read("a") == b"old"
    storage.write_folder(out, NEW, replace=True)
    assert tree(tmp_path).keys() == {"out", "out/a", "out/b", "out/manifest.json"}
