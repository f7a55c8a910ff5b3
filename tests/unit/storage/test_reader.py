"""Reading: every byte is the one that was written, or it is said."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt1 import storage
from gpt1.errors import CheckpointError, CorruptError, StorageError


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
