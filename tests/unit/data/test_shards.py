from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from letters import Letters, encode_ahead

from gpt1.data import shards
from gpt1.data.shards import Shards, write_shards
from gpt1.data.tables import open_texts
from gpt1.errors import CheckpointError, CorruptError, DataError, StorageError, TokenizerError
from gpt1.storage import MANIFEST


def _jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def _random_texts(count: int = 300) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices("abcé ~", k=rng.randint(1, 60))) for _ in range(count)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 37)
    monkeypatch.setattr(shards, "_REPORT", 200)


@pytest.mark.usefixtures("small")
def test_shards_hold_the_ids_of_all_texts_one_after_the_other(tmp_path: Path) -> None:
    given = ["first", "~~", " ", *_random_texts(), "~"]
    tokenizer = Letters()
    texts = open_texts(_jsonl(tmp_path / "a.jsonl", given))
    seen: list[tuple[int, int]] = []
    summary = write_shards(
        tmp_path / "out",
        texts,
        tokenizer,
        encode=encode_ahead,
        progress=lambda *done: seen.append(done),
    )
    used = [text for text in given if text.strip() and tokenizer.encode(text)]
    stream = [i for text in used for i in tokenizer.encode(text)]

    opened = Shards(tmp_path / "out")
    assert opened.summary == summary
    assert (opened.tokens, opened.documents) == (len(stream), len(used))
    assert summary.bytes == sum(len(text.encode()) for text in used)
    assert summary.shards == -(-len(stream) // 37) > 100
    assert opened.read(0, len(stream)).tolist() == stream
    for i, text in enumerate(used):
        assert opened.document(i).tolist() == tokenizer.encode(text)
    rng = random.Random(1)
    for _ in range(500):
        start, stop = sorted(rng.choices(range(len(stream) + 1), k=2))
        assert opened.read(start, stop).tolist() == stream[start:stop]

    assert summary.rows == len(given) == summary.documents + sum(summary.rejected.values())
    assert summary.rejected["no tokens"] >= 2
    assert texts.counts.rows == summary.rows
    assert seen == sorted(seen)
    assert (0, 0) < seen[0] < seen[-1] <= (summary.documents, 0)
    assert len(seen) > 20
    assert (tmp_path / "out" / "vocab.json").read_bytes() == b"{}"


@pytest.mark.usefixtures("small")
def test_ids_are_stored_as_little_endian_16_bit_numbers(tmp_path: Path) -> None:
    tokenizer = Letters(65_536)
    write_shards(tmp_path / "out", open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"])), tokenizer)
    expected = [65_536 - 256 + ord(letter) for letter in "ab"]
    data = (tmp_path / "out" / "shard-00000.bin").read_bytes()
    assert data == b"".join(i.to_bytes(2, "little") for i in expected)
    ends = (tmp_path / "out" / "documents.bin").read_bytes()
    assert ends == (0).to_bytes(8, "little") + (2).to_bytes(8, "little")


def test_a_vocabulary_that_does_not_fit_16_bits_is_refused(tmp_path: Path) -> None:
    texts = open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"]))
    with pytest.raises(TokenizerError, match=r"65,537 pieces; .* at most 65,536"):
        write_shards(tmp_path / "out", texts, Letters(65_537))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("small")
def test_every_changed_byte_of_every_file_is_found_on_opening(tmp_path: Path) -> None:
    texts = open_texts(_jsonl(tmp_path / "a.jsonl", ["x" * 37 * 20]))
    assert write_shards(tmp_path / "out", texts, Letters()).shards == 20
    rng = random.Random(0)
    for path in sorted((tmp_path / "out").iterdir()):
        data = path.read_bytes()
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        if path.suffix == ".bin" or path.name == "data.json":
            with pytest.raises(CorruptError):
                Shards(tmp_path / "out")
        path.write_bytes(data[:-1])
        if path.suffix == ".bin":
            with pytest.raises(CorruptError):
                Shards(tmp_path / "out")
        path.write_bytes(data)
    Shards(tmp_path / "out")


@pytest.mark.usefixtures("small")
def test_a_shard_that_is_missing_or_of_other_text_is_found_on_opening(tmp_path: Path) -> None:
    for name, text in (("out", "xy" * 200), ("other", "yx" * 200)):
        texts = open_texts(_jsonl(tmp_path / "a.jsonl", [text]))
        write_shards(tmp_path / name, texts, Letters())
    out, other = tmp_path / "out", tmp_path / "other"
    shard, manifest = (out / "shard-00003.bin").read_bytes(), (out / MANIFEST).read_bytes()
    (out / "shard-00003.bin").unlink()
    with pytest.raises(CorruptError, match=r"shard-00003.bin is gone"):
        Shards(out)
    (out / "shard-00003.bin").write_bytes((other / "shard-00003.bin").read_bytes())
    with pytest.raises(CorruptError, match=r"shard-00003.bin is not what was written"):
        Shards(out)
    (out / "shard-00003.bin").write_bytes(shard)
    (out / MANIFEST).write_bytes((other / MANIFEST).read_bytes())
    with pytest.raises(CorruptError, match=r"shard-00000.bin is not what was written"):
        Shards(out)
    (out / MANIFEST).unlink()
    with pytest.raises(DataError, match="no prepared text"):
        Shards(out)
    (out / MANIFEST).write_bytes(manifest)
    Shards(out)


def _claim(out: Path, name: str, data: bytes) -> None:
    """Put other bytes into a file, and into the manifest that these are the right ones."""
    (out / name).write_bytes(data)
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / MANIFEST).write_text(json.dumps(manifest))


def test_a_folder_of_a_newer_version_says_so(tmp_path: Path) -> None:
    write_shards(tmp_path / "out", open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"])), Letters())
    counts = json.loads((tmp_path / "out" / "data.json").read_text())
    _claim(tmp_path / "out", "data.json", json.dumps({**counts, "format": 2, "new": 1}).encode())
    with pytest.raises(DataError, match=r"format 2; this version reads 1.* newer gpt1"):
        Shards(tmp_path / "out")
    _claim(tmp_path / "out", "data.json", b"[1]")
    with pytest.raises(DataError, match="format None"):
        Shards(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("shard-00000.bin", b"\1\0"),
        ("shard-00000.bin", b"\1\0\2"),
        ("shard-00000.bin", b""),
        ("documents.bin", b""),
        ("documents.bin", b"\0" * 12),
        ("documents.bin", b"\0" * 16),
        ("data.json", b'{"format": 1}'),
        ("data.json", b'{"format": 1, "shards": "two"}'),
    ],
)
def test_files_that_do_not_fit_each_other_are_found_even_with_a_manifest_to_match(
    tmp_path: Path, name: str, data: bytes
) -> None:
    write_shards(tmp_path / "out", open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"])), Letters())
    _claim(tmp_path / "out", name, data)
    with pytest.raises(CorruptError, match=r"what its data\.json says\. Run gpt1 prepare again"):
        Shards(tmp_path / "out")


@pytest.mark.parametrize(("key", "value"), [("shards", 2), ("shards", 0), ("tokens", 3)])
def test_counts_that_are_not_those_of_the_files_are_found(
    tmp_path: Path, key: str, value: int
) -> None:
    write_shards(tmp_path / "out", open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"])), Letters())
    counts = json.loads((tmp_path / "out" / "data.json").read_text())
    _claim(tmp_path / "out", "data.json", json.dumps({**counts, key: value}).encode())
    with pytest.raises(CheckpointError):
        Shards(tmp_path / "out")


def test_the_fingerprint_is_the_contents(tmp_path: Path) -> None:
    def made(name: str, texts: list[str], tokenizer: Letters) -> str:
        write_shards(tmp_path / name, open_texts(_jsonl(tmp_path / "a.jsonl", texts)), tokenizer)
        return Shards(tmp_path / name).fingerprint

    same = made("a", ["ab", "c"], Letters())
    assert made("b", ["ab", "c"], Letters()) == same
    others = {
        made("c", ["ab", "d"], Letters()),
        made("d", ["a", "bc"], Letters()),
        made("e", ["ab", "c"], Letters(300)),
    }
    assert len(others | {same}) == 4


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path / "out", open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"])), Letters())
    opened = Shards(tmp_path / "out")
    opened.check(Letters())
    with pytest.raises(TokenizerError, match="prepared with another tokenizer"):
        opened.check(Letters(300))


def test_nothing_is_left_when_preparing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n{"text": broken}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        write_shards(tmp_path / "out", open_texts(path), Letters())
    _jsonl(path, ["~", "~~"])
    with pytest.raises(DataError, match=r"no text gave a token; 2 rows .*\(no tokens 2\)"):
        write_shards(tmp_path / "out", open_texts(path), Letters())
    assert [item.name for item in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    texts = open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"]))
    write_shards(tmp_path / "out", texts, Letters())
    with pytest.raises(StorageError, match="already there"):
        write_shards(tmp_path / "out", texts, Letters())


def test_what_holds_no_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        Shards(tmp_path / "missing")
    with pytest.raises(DataError, match="gpt1 prepare"):
        Shards(tmp_path)


def test_ids_outside_the_corpus_are_an_index_error(tmp_path: Path) -> None:
    write_shards(tmp_path / "out", open_texts(_jsonl(tmp_path / "a.jsonl", ["ab"])), Letters())
    opened = Shards(tmp_path / "out")
    assert opened.read(2, 2).tolist() == []
    for start, stop in ((-1, 1), (1, 0), (0, 3)):
        with pytest.raises(IndexError):
            opened.read(start, stop)
    for i in (-1, 1):
        with pytest.raises(IndexError):
            opened.document(i)
