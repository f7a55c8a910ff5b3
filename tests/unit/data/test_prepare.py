"""The command prepare, and the data layer with the real tokenizer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gpt1.cli import main
from gpt1.data.batches import WindowBatches
from gpt1.data.shards import Shards
from gpt1.text.tokenizer import Tokenizer

TEXTS = [
    "It was a dark and stormy night.",
    "The rain fell in torrents, the rain.",
    "A night in",
] * 20


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    Tokenizer.train(TEXTS, vocab_size=60).save(tmp_path / "vocabulary")
    return tmp_path / "vocabulary"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "stories.csv"
    path.write_text("id,story\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate([*TEXTS, " "])))
    return path


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["gpt1", "prepare", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_prepare_makes_shards_that_hold_what_the_tokenizer_says(
    table: Path,
    vocabulary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    where = ("--tokenizer", vocabulary, "--column", "story", "--workers", "1", "--out", out)
    assert _run(monkeypatch, table, *where) == 0
    tokenizer = Tokenizer.load(vocabulary)
    stream = [i for text in TEXTS for i in tokenizer.encode(text)]
    opened = Shards(out)
    opened.check(tokenizer)
    assert opened.read(0, opened.tokens).tolist() == stream
    assert opened.document(1).tolist() == tokenizer.encode(TEXTS[1])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "61 rows from 1 file: 60 used, 1 rejected (empty 1)"
    size = sum(len(text.encode()) for text in TEXTS)
    each = f"{size / len(stream):.2f} bytes a token"
    assert printed[1] == f"{len(stream):,} tokens in 60 documents; {each}"
    assert printed[2].startswith("0.0 MB in ")

    kept = Tokenizer.load(out)
    assert kept.fingerprint == tokenizer.fingerprint, "the shards bring their tokenizer"
    assert WindowBatches(opened, 8, 4).update(0)[0].targets == 32


def test_prepare_prints_its_counts_for_machines(
    table: Path,
    vocabulary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--tokenizer", vocabulary, "--column", "story", "--out", tmp_path / "out")
    assert _run(monkeypatch, table, *where, "--limit", "7", "--json") == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["rows"] == counts["documents"] == 7
    assert counts["vocab_size"] == len(Tokenizer.load(vocabulary))


def test_prepare_says_what_is_wrong_and_exits_with_the_right_code(
    table: Path,
    vocabulary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ("--tokenizer", vocabulary, "--out", tmp_path / "out")
    assert _run(monkeypatch, table, *out) == 2
    assert "has the columns id, story" in capsys.readouterr().err
    assert _run(monkeypatch, table, *out, "--column", "stroy") == 2
    assert "Did you mean 'story'?" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert (
        _run(
            monkeypatch, table, "--tokenizer", vocabulary, "--column", "story", "--out", vocabulary
        )
        == 1
    )
    assert "already there" in capsys.readouterr().err
