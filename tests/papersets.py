"""A few rows of the paper's data sets in the forms of their files, and texts to pre-train on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TEXTS = ["The dog sat.", "A cat ran and ran.", "Is the dog a cat?", "It is.", "The end and the dog"]


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows of cells, with tabs between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), "utf-8")


def write_json(path: Path, rows: Iterable[Any]) -> None:
    """Write a line of JSON for each row; compressed where the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_sets(place: Path) -> Path:
    """Write CoLA, SST-2, STS-B, MultiNLI, RACE, the Winograd schemas and three novels."""
    for name, count in (("in_domain_train", 9), ("in_domain_dev", 6), ("out_of_domain_dev", 4)):
        rows = [["x", i % 2, "", TEXTS[i % 5]] for i in range(count)]
        write_rows(place / "cola" / f"{name}.tsv", rows)
    sentences = [[text.lower(), i % 2] for i, text in enumerate(TEXTS)]
    write_rows(place / "sst2" / "dev.tsv", [["sentence", "label"], *sentences])
    write_rows(place / "sst2" / "test.tsv", [["sentence", "label"], sentences[1]])
    for split in ("train", "dev", "test"):
        scored = [["g", "f", 2020, i, i % 6, TEXTS[i % 5], TEXTS[-i % 5]] for i in range(10)]
        write_rows(place / "stsb" / f"sts-{split}.csv", scored)
    names = ["entailment", "neutral", "contradiction"]
    for name, count in (("train", 12), ("dev_matched_1k", 7), ("dev_mismatched_1k", 5)):
        pairs = [[names[i % 3], TEXTS[i % 5], TEXTS[-i % 5]] for i in range(count)]
        write_rows(
            place / "mnli" / f"{name}.tsv", [["gold_label", "sentence1", "sentence2"], *pairs]
        )
    passage = {
        "article": " ".join(TEXTS), "questions": ["is it?", "the cat is _ ."],
        "options": [TEXTS[:4], TEXTS[1:]], "answers": ["A", "C"],
    }  # fmt: skip
    for name in ("train_middle", "train_high", "dev_middle", "dev_high"):
        write_json(place / "race" / f"{name}.jsonl.gz", [passage] * 2)
    text = "The dog saw the cat and it ran."
    options = ["The dog", "the cat"]
    schema = {
        "text": text,
        "pronoun": "it",
        "pronoun_loc": text.index("it ran"),
        "options": options,
    }
    for name in ("wsc273", "dpr_train"):
        rows = [schema | {"label": label} for label in (0, 1, 1)]
        write_json(place / "winograd" / f"{name}.jsonl", rows)
    block = f"{text}\nit\nThe dog,the cat\nthe cat\n\n"
    (place / "winograd" / "dpr_test.c.txt").write_text(block * 2)
    write_json(place / "novels" / "train.jsonl.gz", [{"text": " ".join(TEXTS * 60)}] * 3)
    return place
