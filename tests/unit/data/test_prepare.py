"""The command prepare, and the data layer with the real tokenizer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from commands import run_gpt1
from gpt1.cli import progress
from gpt1.data import parallel
from gpt1.data.batches import WindowBatches
from gpt1.data.shards import Shards
from gpt1.text.tokenizer import IdArray, Tokenizer

TEXTS = [
    "It was a dark and stormy night.",
    "The rain fell in torrents, the rain.",
    "A night in",
] * 20
PREPARE = "prepare stories.csv --tokenizer vocabulary --column story"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, vocab_size=60)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with a table and a vocabulary."""
    monkeypatch.chdir(tmp_path)
    tokenizer.save("vocabulary")
    rows = "".join(f'{i},"{text}"\n' for i, text in enumerate([*TEXTS, " "]))
    Path("stories.csv").write_text("id,story\n" + rows)


def test_prepare_makes_shards_that_hold_what_the_tokenizer_says(tokenizer: Tokenizer) -> None:
    done = run_gpt1(f"{PREPARE} --workers 1 --out out").check()
    stream = [i for text in TEXTS for i in tokenizer.encode(text)]
    shards = Shards("out")
    shards.check(tokenizer)
    assert shards.read(0, shards.tokens).tolist() == stream
    assert shards.document(1).tolist() == tokenizer.encode(TEXTS[1])
    printed = done.stdout.splitlines()
    assert printed[0] == "61 rows from 1 file: 60 used, 1 rejected (empty: 1)"
    each = f"{sum(len(text.encode()) for text in TEXTS) / len(stream):.2f} bytes a token"
    assert printed[1].startswith("duplicates: 57 exact duplicates; ")
    assert printed[2:4] == [
        "unknown characters: 0.00%",
        f"{len(stream):,} tokens in 60 documents; {each}",
    ]
    assert printed[4].startswith("0.0 MB in ")

    kept = Tokenizer.load("out")
    assert kept.fingerprint == tokenizer.fingerprint, "the shards bring their tokenizer"
    assert WindowBatches(shards, 8, 4).update(0)[0].targets == 32


def test_prepare_prints_its_counts_for_machines(tokenizer: Tokenizer) -> None:
    counts = json.loads(run_gpt1(f"{PREPARE} --out out --limit 7 --json").check().stdout)
    assert counts["rows"] == counts["documents"] == 7
    assert counts["vocab_size"] == len(tokenizer)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--out out --column story --engine rey", 2, "'rey' is not one of 'local'"),
        ("--out out --column story --engine ray", 2,
         'Run pip install "gpt1[ray]", or take the engine local.'),
    ],
)  # fmt: skip
def test_prepare_says_what_is_wrong_and_exits_with_the_right_code(
    arguments: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run_gpt1(f"prepare stories.csv --tokenizer vocabulary {arguments}")
    assert done.code == code
    assert message in " ".join(done.stderr.split())
    assert not Path("out").exists()


def _bytes(folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def test_a_worker_killed_on_the_way_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    run_gpt1(f"{PREPARE} --workers 1 --out one").check()
    encode, calls = parallel._Worker.encode, 0

    def deadly(worker: parallel._Worker, texts: list[str]) -> list[IdArray]:
        nonlocal calls
        calls += 1
        worker.process.kill()
        return encode(worker, texts)

    monkeypatch.setattr(parallel, "_JOB", 100)
    monkeypatch.setattr(parallel._Worker, "encode", deadly)
    run_gpt1(f"{PREPARE} --workers 2 --out two").check()
    assert calls == 1, "who is lost is given no more"
    assert _bytes("two") == _bytes("one")


def test_without_a_terminal_a_line_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt1.data.shards._REPORT", 100)
    assert run_gpt1(f"{PREPARE} --out quick").check().stderr == "", "what is quick says nothing"
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    done = run_gpt1(f"{PREPARE} --out slow --json").check()
    assert done.stderr.splitlines()[0] == "preparing: 4 documents"
    assert json.loads(done.stdout)["documents"] == 60
