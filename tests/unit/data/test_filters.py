"""Documents that repeat others or that the vocabulary lacks: against comparing all runs."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from letters import Letters, encode_ahead

from commands import run_gpt1
from gpt1.data import filters
from gpt1.data.filters import RUN, Document, Filters, Screen, rolling_hashes
from gpt1.data.shards import Shards, write_shards
from gpt1.data.tables import Texts
from gpt1.text.tokenizer import IdArray, Tokenizer


def _documents(arrays: Sequence[IdArray]) -> list[tuple[Document, IdArray]]:
    texts = [" ".join(map(str, ids)) for ids in arrays]
    return [
        (Document.of(t, str(i)), ids) for i, (t, ids) in enumerate(zip(texts, arrays, strict=True))
    ]


def _runs(ids: IdArray, left_out: tuple[int, ...] = (0, 1)) -> set[tuple[int, ...]]:
    kept = [int(i) for i in ids if i not in left_out]
    return {tuple(kept[i : i + RUN]) for i in range(len(kept) - RUN + 1)}


class _Ids(Letters):
    unknown_id, newline_id = 0, 1


def _corpus(seed: int) -> list[IdArray]:
    """Documents of all lengths, of which some take over parts of earlier ones."""
    rng = np.random.default_rng(seed)
    arrays: list[IdArray] = []
    for _ in range(60):
        parts = [rng.integers(0, 256, rng.integers(1, 90)).astype(np.uint16)]
        if arrays and rng.random() < 0.6:
            other = arrays[rng.integers(len(arrays))]
            parts.insert(int(rng.integers(2)), other[rng.integers(len(other)) :])
        arrays.append(np.concatenate(parts) if rng.random() < 0.8 or not arrays else arrays[0])
    return arrays


@pytest.mark.parametrize("batch", [1, 300, 1 << 16])
@pytest.mark.parametrize("most", [None, 0.3])
def test_shares_and_drops_are_those_of_comparing_all_runs(
    batch: int, most: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "_BATCH", batch)
    arrays, valid = _corpus(1), _corpus(2)[:5]
    valid.append(arrays[7])
    held_out = set().union(*map(_runs, valid))
    seen: set[tuple[int, ...]] = set()
    whole: set[tuple[int, ...]] = set()
    kept, overlap, tokens, duplicates = [], 0.0, 0, 0
    for number, ids in enumerate(arrays):
        runs, same = _runs(ids), tuple(ids) in whole
        share = 1.0 if same else len(runs & seen) / max(1, len(runs))
        in_valid = any(np.array_equal(ids, v) for v in valid)
        other = 1.0 if in_valid else len(runs & held_out) / max(1, len(runs))
        judged = bool(runs) or same or in_valid
        overlap, tokens, duplicates = (
            overlap + share * len(ids),
            tokens + len(ids) * judged,
            duplicates + same,
        )
        if most is None or max(share, other) <= most:
            kept.append(number)
            seen |= runs
            whole.add(tuple(ids))
    screen = Screen(_Ids(), Filters(max_overlap=most))  # type: ignore[arg-type]
    screen.hold_out(_documents(valid))
    assert [int(document.place) for document, _ in screen.kept(_documents(arrays))] == kept
    assert screen.quality.overlap == pytest.approx(overlap / tokens)
    assert screen.quality.duplicates == duplicates > 0
    assert (screen.quality.valid_duplicates or 0) >= 1
    assert len(screen.dropped) == 60 - len(kept)
    assert (most is None) == (len(kept) == 60)


def test_of_many_runs_a_sample_gives_nearly_the_same_share(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    books = [rng.integers(2, 256, 20_000).astype(np.uint16) for _ in range(8)]
    books.append(np.concatenate([books[0][:12_000], rng.integers(2, 256, 8_000).astype(np.uint16)]))
    monkeypatch.setattr(filters, "MOST_RUNS", 4_000)
    screen = Screen(_Ids(), Filters(max_overlap=0.5))  # type: ignore[arg-type]
    assert len(list(screen.kept(_documents(books)))) == 8
    assert screen.quality.every >= 32
    assert len(screen._seen.runs) <= 4_000
    assert screen.dropped[0]["share"] == pytest.approx(0.6, abs=0.1)
    assert screen.quality.overlap == pytest.approx(0.6 / 9, abs=0.012)


def test_a_hash_is_the_sum_of_values_times_powers() -> None:
    values = np.random.PCG64(3).random_raw(40)
    powers = [pow(filters._FACTOR, i, 1 << 64) for i in range(RUN)]
    plain = [
        sum(int(v) * p for v, p in zip(values[i : i + RUN], powers, strict=True)) % (1 << 64)
        for i in range(40 - RUN + 1)
    ]
    assert rolling_hashes(values).tolist() == plain
    assert rolling_hashes(values[:12]).tolist() == []


WORDS = [
    "night",
    "rain",
    "fell",
    "over",
    "the",
    "sea",
    "while",
    "dogs",
    "barked",
    "and",
    "seven",
    "cats",
    "watched",
    "from",
    "some",
    "wall",
]


def _story(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=200))


def test_prepare_drops_and_lists_copies_noise_and_other_alphabets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stories = [_story(i) for i in range(4)]
    tokenizer = Tokenizer.train(stories, vocab_size=70)
    tokenizer.save("words")
    rng = random.Random(0)
    noisy = "".join(rng.choice("\u00a7\u00a4") if rng.random() < 0.1 else c for c in stories[1])
    broken = "".join(rng.sample(stories[3], len(stories[3])))
    rows = [
        *stories[:3], stories[0], "licence: none. " + stories[0].replace(" ", "\n").upper(),
        noisy, broken, stories[3],
    ]  # fmt: skip
    Path("corpus.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    Path("valid.jsonl").write_text(json.dumps({"text": stories[3]}) + "\n")
    arguments = "prepare corpus.jsonl --tokenizer words"
    counts = json.loads(run_gpt1(f"{arguments} --out all --json").check().stdout)
    assert counts["quality"]["duplicates"] == 1
    share = noisy.count("\u00a7") + noisy.count("\u00a4")
    assert counts["quality"]["unknown"] == pytest.approx(share / sum(map(len, rows)), rel=0.02)
    assert counts["dropped"] == {}
    assert not Path("all/dropped.jsonl").exists()

    flags = "--drop-duplicates --max-overlap 0.9 --max-unknown 0.01 --min-bytes-per-token 2"
    for workers in (1, 2):
        out = f"out{workers}"
        done = run_gpt1(f"{arguments} {flags} --valid valid.jsonl --workers {workers} --out {out}")
        assert "5 documents dropped: out" in done.check().stdout
    lines = Path("out1/dropped.jsonl").read_text().splitlines()
    assert [(row["document"], row["reason"]) for row in map(json.loads, lines)] == [
        ("corpus.jsonl:4", "duplicate"),
        ("corpus.jsonl:5", "overlapping"),
        ("corpus.jsonl:6", "with unknown characters"),
        ("corpus.jsonl:7", "of few bytes a token"),
        ("corpus.jsonl:8", "in the validation set"),
    ]
    for file in Path("out1").iterdir():
        assert file.read_bytes() == (Path("out2") / file.name).read_bytes()
    shards = Shards("out1")
    assert shards.documents == 3
    assert sum(shards.summary.dropped.values()) == 5
    assert [shards.document(i).tolist() for i in range(3)] == [
        tokenizer.encode(story) for story in stories[:3]
    ]


def test_a_corpus_of_which_all_is_dropped_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "abcd"}\n' * 3)
    texts = Texts(tmp_path / "a.jsonl")
    with pytest.raises(Exception, match=r"3 of few bytes a token, .*Give other text"):
        write_shards(
            tmp_path / "out", texts, Letters(), encode=encode_ahead,  # type: ignore[arg-type]
            screen=Screen(Letters(), Filters(min_bytes_per_token=2)),  # type: ignore[arg-type]
        )  # fmt: skip
