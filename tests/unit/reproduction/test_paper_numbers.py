"""The published numbers: averages, agreement with one another, and the spec's own tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpt1.reproduction import paper
from gpt1.reproduction.paper import FULL, LSTM, NO_AUX, NO_PRETRAINING, SETS, TABLE5
from gpt1.tasks.datasets import DATA_SETS, data_set

TABLES = (paper.TABLE2, paper.TABLE3, paper.TABLE4, paper.TABLE5)


@pytest.mark.parametrize(
    ("variant", "mean", "printed"),
    [
        (FULL, 74.65, 74.7),
        (NO_PRETRAINING, 59.93, 59.9),
        (NO_AUX, 75.03, 75.0),
        (LSTM, 69.16, 69.1),  # rounding would give 69.2
    ],
)
def test_the_averages_of_table_5(variant: str, mean: float, printed: float) -> None:
    values = [paper.figure(data, variant) for data in SETS]
    assert None not in values
    assert sum(v for v in values if v is not None) / 8 == pytest.approx(mean, abs=0.006)
    assert paper.average(variant, SETS) == printed == TABLE5.figure(variant, "avg")


def test_the_tables_agree() -> None:
    """Table 5's full row is that of tables 2 and 4; MNLI is the mean of its two parts."""
    for data in ("cola", "sst2", "mrpc", "stsb", "qqp"):
        assert paper.TABLE4.figure(paper.OURS, data) == TABLE5.figure(FULL, data)
    for data in ("qnli", "rte"):
        assert paper.TABLE2.figure(paper.OURS, data) == TABLE5.figure(FULL, data)
    parts = [paper.figure("mnli_matched"), paper.figure("mnli_mismatched")]
    assert sum(v for v in parts if v is not None) / 2 == pytest.approx(81.75)
    assert paper.figure("mnli") == 81.8


def test_the_claims() -> None:
    """Spec 6.5.2: how far GPT-1 is above the best of the others, and where it is not."""
    gains = {}
    for table in TABLES[:3]:
        for column in table.columns:
            others = [table.figure(method, column) for method in table.rows if method != paper.OURS]
            ours = table.figure(paper.OURS, column)
            best = max(value for value in others if value is not None)
            assert ours is not None
            gains[column] = round(ours - best, 1)
    expected = {
        "storycloze": 8.9, "race": 5.7, "mnli_matched": 1.5, "scitail": 5.0, "qnli": 5.8,
        "snli": 0.6, "qqp": 4.2, "stsb": 1.0, "glue": 3.9, "cola": 10.4,
    }  # fmt: skip
    assert gains | expected == gains
    assert {name for name, gain in gains.items() if gain < 0} == {"rte", "sst2", "mrpc"}


def test_every_table_is_whole() -> None:
    for table in TABLES:
        assert {len(values) for values in table.rows.values()} == {len(table.columns)}
        for column in set(table.columns) - {"avg", "glue"}:
            assert column in paper.TITLES
            assert column.partition("_")[0] in DATA_SETS
    for data in (*SETS, *paper.FURTHER):
        assert data_set(data).task.metric in paper.METRICS
        assert paper.figure(data) is not None
    assert set(paper.TRAIN_ROWS) == set(DATA_SETS) == {*SETS, *paper.FURTHER}


def test_the_spec(data_folder: Path) -> None:
    """Every table against the specification's text, where it is at hand."""
    spec = data_folder.parent / "spec" / "gpt1-spec.md"
    if not spec.is_file():
        pytest.skip("the specification is not beside the data folder")
    text = spec.read_text("utf-8")
    for number, table in enumerate(TABLES, 2):
        part = re.split(rf"### 6\.{number} ", text)[1].split("###")[0]
        lines = [line.strip("| \n").split(" | ") for line in part.splitlines() if "|" in line]
        rows = [[cell.strip(" *") for cell in line] for line in lines[2:]]
        printed = [tuple(None if c == "-" else float(c) for c in row[1:]) for row in rows]
        assert printed == list(table.rows.values())
        if number < 5:
            assert [row[0] for row in rows] == list(table.rows)
    sizes = text.split("### 6.1 ")[1].split("### 6.2")[0]
    for data, count in paper.TRAIN_ROWS.items():
        assert f"{count:,}" in sizes, data


def test_figure_and_average_without_a_published_value() -> None:
    assert paper.figure("race", NO_AUX) is None
    assert paper.figure("nothing") is None
    assert paper.average(NO_AUX, ["cola", "race"]) is None
    assert paper.average(FULL, []) is None
    assert paper.average(FULL, ["rte", "cola"]) == pytest.approx((56.0 + 45.4) / 2)
