"""gpt1 predict, embed and score read files in units: results do not depend on where units end."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

import tiny
import worlds
from commands import run_gpt1
from gpt1.checkpoint import folder
from gpt1.data import units
from gpt1.pipeline import GPT1
from gpt1.tasks.kinds import Classification
from gpt1.tasks.predictor import Predictor
from gpt1.text.tokenizer import Tokenizer

TEXTS = ["the dog", "", "a cat is a cat", "the", "and the dog is a cat . " * 9, "a dog", "the cat"]


@pytest.fixture(scope="module")
def gpt(tmp_path_factory: pytest.TempPathFactory) -> GPT1:
    place = tmp_path_factory.mktemp("model")
    tiny.write_vocabulary(place)
    return GPT1(tiny.model(), Tokenizer.load(place), dtype="float32")


@pytest.fixture(autouse=True)
def _place(gpt: GPT1, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder.save("model", gpt.model, gpt.tokenizer)
    words, task = worlds.tokenizer(Path("words")), Classification(("no", "yes"))
    Predictor(worlds.model(task, words).float(), words, task).save("task")
    rows = [{"n": number, "text": text} for number, text in enumerate(TEXTS)]
    rows[3]["more"] = "x"
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_unit_ends_by_rows_or_by_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "ROWS", 3)
    monkeypatch.setattr(units, "CHARACTERS", 10)
    texts = ["a" * length for length in (1, 2, 3, 4, 7, 12, 1)]
    cut = list(units.Units(units.Listed(texts, units.RowCounts()), len))
    assert [[len(text) for text in unit] for unit in cut] == [[1, 2, 3], [4, 7], [12], [1]]


def test_scores_are_those_of_the_model(gpt: GPT1) -> None:
    done = run_gpt1("score rows.jsonl --model model --out s.jsonl").check()
    said = "empty: 1, less than two tokens: 1, longer than the model reads: 1"
    assert f"7 rows from 1 file: 4 used, 3 rejected ({said})" in done.stderr
    found = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    printed = list(csv.DictReader(run_gpt1("score rows.jsonl --model model").stdout.splitlines()))
    for text, score, row in zip(TEXTS, found, printed, strict=True):
        if text in ("", "the") or len(text) > 100:
            assert {*score.values(), *row.values()} == {None, ""}
            continue
        expected = gpt.score(text)
        assert score["ids"] == expected.ids
        np.testing.assert_allclose(score["logprobs"], expected.logprobs, rtol=1e-5)
        np.testing.assert_allclose(score["loss"], expected.loss, rtol=1e-5)
        assert float(row["loss"]) == pytest.approx(expected.loss, abs=1e-5)
        assert float(row["logprob"]) == pytest.approx(sum(expected.logprobs), abs=1e-5)
        assert int(row["tokens"]) == len(expected.ids)
    assert "which exists" in run_gpt1("score rows.jsonl --model model --out s.jsonl").stderr


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("predict task rows.jsonl --allow-unknown --keep-columns", "out.csv"),
        ("predict task rows.jsonl --allow-unknown", "out.csv"),
        ("embed rows.jsonl --model model", "out.npy"),
        ("score rows.jsonl --model model", "out.jsonl"),
    ],
)
def test_a_file_of_several_units_is_as_one_of_one(
    command: str, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_gpt1(f"{command} --out {out}").check()
    first = Path(out).read_bytes()
    monkeypatch.setattr(units, "ROWS", 2)
    parts = run_gpt1(f"{command} --out {out} --force").check()
    assert parts.stderr == whole.stderr
    if out == "out.csv":
        (head, *one), (same, *two) = (
            list(csv.reader(t.splitlines())) for t in (first.decode(), Path(out).read_text())
        )
        assert head == same
        numbers = [[[float(f or -1) for f in row[-2:]] for row in rows] for rows in (one, two)]
        np.testing.assert_allclose(*numbers, atol=2e-6)
        assert [row[:-2] for row in one] == [row[:-2] for row in two]
    elif out == "out.jsonl":
        one, two = (list(map(json.loads, t.splitlines())) for t in (first, Path(out).read_bytes()))
        assert [score["ids"] for score in one] == [score["ids"] for score in two]
        losses = [[score["loss"] or 0.0 for score in scores] for scores in (one, two)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    else:
        np.testing.assert_allclose(np.load(out), np.load(io.BytesIO(first)), rtol=1e-5, atol=1e-6)
        same = io.BytesIO()
        np.save(same, np.load(out))
        assert same.getvalue() == Path(out).read_bytes()
