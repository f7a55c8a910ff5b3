"""gpt1 tokenize and gpt1 learn-bpe, as they are called."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gpt1.cli import main, progress
from gpt1.text.tokenizer import Tokenizer

CORPUS = ["The dog can't see the cat.", "The cat sees the dog's 5kg of food."] * 8


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in CORPUS))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["gpt1", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_vocabulary_is_learnt_and_used(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "vocabulary"
    learnt = ("learn-bpe", corpus, "--out", out, "--vocab-size", "45", "--words", "slow")
    assert run(monkeypatch, *learnt, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    tokenizer = Tokenizer.load(out)
    assert (facts["tokens"], facts["words"], facts["rows"]) == (45, "slow", 16)
    assert facts["sha256"] == tokenizer.fingerprint
    assert tokenizer.fingerprint == Tokenizer.train(CORPUS, 45, "slow").fingerprint

    assert run(monkeypatch, "tokenize", "The dog", "--model", out, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["ids"] == tokenizer.encode("The dog")
    assert (shown["words"], shown["text"]) == ("slow", "the dog")

    assert run(monkeypatch, "tokenize", "The\ncat's", "--tokenizer", out, "--words", "fast") == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0] == 'fast words: "The\\ncat\'s"'
    assert table[-1] == "4 tokens"


def test_without_a_terminal_a_line_is_printed_now_and_then(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    learnt = ("learn-bpe", corpus, "--out", tmp_path / "it", "--vocab-size", "45", "--words")
    assert run(monkeypatch, *learnt, "slow") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading: 1 documents"
    assert lines[15] == "reading: 16 documents"
    assert lines[16].startswith("learning: 1 of ")


def test_an_early_end_of_learning_is_said(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "learn-bpe", corpus, "--out", tmp_path / "v") == 0
    said = capsys.readouterr()
    assert "tokens, not 8192: no further pair occurs 2 times" in " ".join(said.err.split())
    assert "16 rows" in said.out


def test_misuse_is_told_with_exit_code_2(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "tokenize", "a", "--model", tmp_path, "--words", "fsat") == 2
    assert "Did you mean 'fast'?" in capsys.readouterr().err
    assert run(monkeypatch, "tokenize", "a", "--model", tmp_path) == 1
    assert "has no vocabulary" in capsys.readouterr().err
    small = ("learn-bpe", corpus, "--out", tmp_path / "v", "--vocab-size", "5")
    assert run(monkeypatch, *small) == 2
    assert "vocab_size is 5" in capsys.readouterr().err
    assert not (tmp_path / "v").exists()
