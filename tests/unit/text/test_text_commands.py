"""gpt1 tokenize and gpt1 learn-bpe, as they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import run_gpt1
from gpt1.cli import progress
from gpt1.text.tokenizer import Tokenizer

CORPUS = ["The dog can't see the cat.", "The cat sees the dog's 5kg of food."] * 8


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in CORPUS))
    return path


def test_a_vocabulary_is_learnt_and_used(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "vocabulary"
    learn = ("learn-bpe", corpus, "--out", out, "--vocab-size", 45, "--words", "slow", "--json")
    learnt = json.loads(run_gpt1(*learn).check().stdout)
    tokenizer = Tokenizer.load(out)
    assert (learnt["tokens"], learnt["words"], learnt["rows"]) == (45, "slow", 16)
    same = Tokenizer.train(CORPUS, 45, "slow")
    assert learnt["sha256"] == tokenizer.fingerprint == same.fingerprint

    shown = json.loads(run_gpt1("tokenize", "The dog", "--model", out, "--json").check().stdout)
    assert shown["ids"] == tokenizer.encode("The dog")
    assert (shown["words"], shown["text"]) == ("slow", "the dog")

    table = run_gpt1("tokenize", "The\ncat's", "--tokenizer", out, "--words", "fast").check()
    lines = table.stdout.splitlines()
    assert (lines[0], lines[-1]) == ('fast words: "The\\ncat\'s"', "4 tokens")


def test_without_a_terminal_a_line_is_printed_now_and_then(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    learn = ("learn-bpe", corpus, "--out", tmp_path / "it", "--vocab-size", 45, "--words", "slow")
    lines = run_gpt1(*learn).check().stderr.splitlines()
    assert lines[0] == "reading: 1 documents"
    assert lines[15] == "reading: 16 documents"
    assert lines[16].startswith("learning: 1 of ")
