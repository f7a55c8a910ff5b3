"""The command prepare, and the data layer with the real tokenizer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gpt1.cli import main, progress
from gpt1.data import parallel
from gpt1.data.batches import WindowBatches
from gpt1.data.shards import Shards
from gpt1.text.tokenizer import Ids, Tokenizer

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


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_worker_killed_on_the_way_changes_no_byte(
    table: Path, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ("--tokenizer", vocabulary, "--column", "story")
    assert _run(monkeypatch, table, *where, "--workers", "1", "--out", tmp_path / "one") == 0
    encode, calls = parallel._Worker.encode, 0

    def deadly(worker: parallel._Worker, texts: list[str]) -> list[Ids]:
        nonlocal calls
        calls += 1
        if calls == 1:
            worker.process.kill()
        return encode(worker, texts)

    monkeypatch.setattr(parallel, "_JOB", 100)
    monkeypatch.setattr(parallel._Worker, "encode", deadly)
    assert _run(monkeypatch, table, *where, "--workers", "2", "--out", tmp_path / "two") == 0
    assert calls == 1
    assert _bytes(tmp_path / "two") == _bytes(tmp_path / "one")


def test_without_a_terminal_a_line_is_printed_now_and_then(
    table: Path,
    vocabulary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("gpt1.data.shards._REPORT", 100)
    where = ("--tokenizer", vocabulary, "--column", "story")
    assert _run(monkeypatch, table, *where, "--out", tmp_path / "quick") == 0
    assert capsys.readouterr().err == "", "what is quick says nothing"
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    assert _run(monkeypatch, table, *where, "--out", tmp_path / "slow", "--json") == 0
    printed = capsys.readouterr()
    assert printed.err.splitlines()[0] == "preparing: 4 documents"
    assert json.loads(printed.out)["documents"] == 60


def test_the_engine_ray_without_ray_names_what_to_install(
    table: Path,
    vocabulary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, None)
    where = ("--tokenizer", vocabulary, "--column", "story", "--out", tmp_path / "out")
    assert _run(monkeypatch, table, *where, "--engine", "ray") == 2
    assert 'Run pip install "gpt1[ray]", or take the engine local.' in capsys.readouterr().err
    assert _run(monkeypatch, table, *where, "--engine", "rey") == 2
    assert "'rey' is not one of 'local'" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
