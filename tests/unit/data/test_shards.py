from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from letters import Letters, encode_ahead

from gpt1.data import shards
from gpt1.data.shards import Shards, write_shards
from gpt1.data.tables import Texts
from gpt1.errors import CheckpointError, CorruptError, DataError, StorageError, TokenizerError
from gpt1.storage import MANIFEST


def _open(path: Path, texts: list[str]) -> Texts:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Texts(path)


def _prepare(out: Path, texts: list[str], tokenizer: Letters | None = None) -> Path:
    """Write shards, and return their folder."""
    write_shards(out, _open(out.parent / "texts.jsonl", texts), tokenizer or Letters())
    return out


def _claim(out: Path, name: str, data: bytes) -> None:
    """Put other bytes into a file, and into the manifest that these are the right ones."""
    (out / name).write_bytes(data)
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (out / MANIFEST).write_text(json.dumps(manifest))


def _claim_counts(out: Path, **changed: object) -> None:
    counts = json.loads((out / "data.json").read_text())
    _claim(out, "data.json", json.dumps({**counts, **changed}).encode())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 37)
    monkeypatch.setattr(shards, "_REPORT", 200)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Shards of the text "ab"."""
    return _prepare(tmp_path / "out", ["ab"])


@pytest.mark.usefixtures("small")
def test_shards_hold_the_ids_of_all_texts_one_after_the_other(tmp_path: Path) -> None:
    rng = random.Random(0)
    more = ["".join(rng.choices("abcé ~", k=rng.randint(1, 60))) for _ in range(300)]
    given = ["first", "~~", " ", *more, "~"]
    tokenizer = Letters()
    texts = _open(tmp_path / "a.jsonl", given)
    seen: list[int] = []
    summary = write_shards(
        tmp_path / "out",
        texts,
        tokenizer,
        encode=encode_ahead,
        progress=lambda done, total: seen.append(done),
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
    for _ in range(500):
        start, stop = sorted(rng.choices(range(len(stream) + 1), k=2))
        assert opened.read(start, stop).tolist() == stream[start:stop]

    assert summary.rows == len(given) == summary.documents + sum(summary.rejected.values())
    assert summary.rejected["no tokens"] >= 2
    assert texts.counts.rows == summary.rows
    assert len(seen) > 20
    assert seen == sorted(seen)
    assert 0 < seen[0] < seen[-1] <= summary.documents
    assert (tmp_path / "out" / "vocab.json").read_bytes() == b"{}"


def test_ids_are_stored_as_little_endian_16_bit_numbers(tmp_path: Path) -> None:
    out = _prepare(tmp_path / "out", ["ab"], Letters(65_536))
    ids = [65_536 - 256 + ord(letter) for letter in "ab"]
    assert (out / "shard-00000.bin").read_bytes() == b"".join(i.to_bytes(2, "little") for i in ids)
    ends = [0, 2]
    assert (out / "documents.bin").read_bytes() == b"".join(i.to_bytes(8, "little") for i in ends)
    with pytest.raises(TokenizerError, match=r"65,537 pieces; .* at most 65,536"):
        _prepare(tmp_path / "other", ["ab"], Letters(65_537))
    assert not (tmp_path / "other").exists()


@pytest.mark.usefixtures("small")
def test_every_changed_byte_of_every_file_is_found_on_opening(tmp_path: Path) -> None:
    out = _prepare(tmp_path / "out", ["x" * 37 * 20])
    assert Shards(out).summary.shards == 20
    rng = random.Random(0)
    for path in sorted(out.iterdir()):
        data = path.read_bytes()
        changed = bytearray(data)
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for damaged in (changed, data[:-1]):
            path.write_bytes(damaged)
            if path.suffix == ".bin" or path.name == "data.json":
                with pytest.raises(CorruptError):
                    Shards(out)
        path.write_bytes(data)
    Shards(out)


@pytest.mark.usefixtures("small")
def test_a_shard_that_is_missing_or_of_other_text_is_found_on_opening(tmp_path: Path) -> None:
    out = _prepare(tmp_path / "out", ["xy" * 200])
    other = _prepare(tmp_path / "other", ["yx" * 200])
    name = "shard-00003.bin"
    shard = (out / name).read_bytes()
    (out / name).unlink()
    with pytest.raises(CorruptError, match=rf"{name} is gone"):
        Shards(out)
    (out / name).write_bytes((other / name).read_bytes())
    with pytest.raises(CorruptError, match=rf"{name} is not what was written"):
        Shards(out)
    (out / name).write_bytes(shard)
    (out / MANIFEST).write_bytes((other / MANIFEST).read_bytes())
    with pytest.raises(CorruptError, match=r"shard-00000.bin is not what was written"):
        Shards(out)
    (out / MANIFEST).unlink()
    with pytest.raises(DataError, match="no prepared text"):
        Shards(out)


def test_a_folder_of_a_newer_version_says_so(out: Path) -> None:
    _claim_counts(out, format=2, new=1)
    with pytest.raises(DataError, match=r"format 2; this version reads 1.* newer gpt1"):
        Shards(out)
    _claim(out, "data.json", b"[1]")
    with pytest.raises(DataError, match="format None"):
        Shards(out)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("shard-00000.bin", b"\1\0"), ("shard-00000.bin", b"\1\0\2"), ("shard-00000.bin", b""),
        ("documents.bin", b""), ("documents.bin", b"\0" * 12), ("documents.bin", b"\0" * 16),
        ("data.json", b'{"format": 1}'), ("data.json", b'{"format": 1, "shards": "two"}'),
        ("data.json", {"shards": 2}), ("data.json", {"shards": 0}), ("data.json", {"tokens": 3}),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_each_other_are_found_even_with_a_manifest_to_match(
    out: Path, name: str, data: bytes | dict[str, object]
) -> None:
    _claim_counts(out, **data) if isinstance(data, dict) else _claim(out, name, data)
    with pytest.raises(CheckpointError, match=r"data\.json says\. Run gpt1 prepare|shard-00001"):
        Shards(out)


def test_the_fingerprint_is_the_contents(tmp_path: Path) -> None:
    prints = [
        Shards(_prepare(tmp_path / str(i), texts, Letters(size))).fingerprint
        for i, (texts, size) in enumerate(
            [(["ab", "c"], 256), (["ab", "c"], 256), (["ab", "d"], 256), (["a", "bc"], 256),
             (["ab", "c"], 300)]
        )
    ]  # fmt: skip
    with pytest.raises(TokenizerError, match="prepared with another tokenizer"):
        Shards(tmp_path / "0").check(Letters(300))
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


def test_nothing_is_left_when_preparing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n{"text": broken}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2"):
        write_shards(tmp_path / "out", Texts(path), Letters())
    with pytest.raises(DataError, match=r"no text gave a token; 2 rows .*\(no tokens: 2\)"):
        write_shards(tmp_path / "out", _open(path, ["~", "~~"]), Letters())
    assert [item.name for item in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_holds_no_shards_or_something_already_is_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="already there"):
        _prepare(out, ["ab"])
    with pytest.raises(CheckpointError, match="no folder"):
        Shards(tmp_path / "missing")
    with pytest.raises(DataError, match="gpt1 prepare"):
        Shards(tmp_path)


def test_ids_outside_the_corpus_are_an_index_error(out: Path) -> None:
    opened = Shards(out)
    assert opened.read(2, 2).tolist() == []
    for read, given in ((opened.read, (-1, 1)), (opened.read, (1, 0)), (opened.read, (0, 3)),
                        (opened.document, (-1,)), (opened.document, (1,))):  # fmt: skip
        with pytest.raises(IndexError):
            read(*given)
