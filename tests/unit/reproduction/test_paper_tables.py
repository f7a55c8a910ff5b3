"""Tables and figures from invented results: what they say, and what they leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt1.reproduction import document, figures, tables
from gpt1.reproduction.figures import cells_by_layers, figure2_left
from gpt1.reproduction.grid import Cell, Result, read_results
from gpt1.reproduction.paper import FULL, LSTM, NO_AUX, NO_PRETRAINING, SETS, VARIANTS
from gpt1.reproduction.results import About, Figures, baseline
from gpt1.storage import json_bytes, write_folder
from gpt1.tasks import metrics
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import METRICS

ABOUT = About("mini", 13_989_120, "lstm-mini", 9_314_688)
ROWS = 60


def result(
    data: str, variant: str = FULL, seed: int = 0, right: float = 0.7, **more: Any
) -> Result:
    """Return a result that is right with a probability, on the same rows for each data set."""
    task = data_set(data).task
    chance = np.random.default_rng(len(data))
    noise = np.random.default_rng([seed, len(variant), more.get("layers") or 0])
    if task.scale:
        gold = chance.uniform(0, 5, ROWS)
        predicted = gold + noise.normal(size=ROWS) * 3 * (1 - right)
    else:
        classes = task.answers or len(task.classes)
        gold = chance.integers(classes, size=ROWS).astype(float)
        predicted = np.where(noise.random(ROWS) < right, gold, (gold + 1) % classes)
    parts = {"mnli": ("matched", "mismatched"), "race": ("middle", "high")}.get(data, ())
    return Result(
        Cell(data, variant, seed, more.get("layers")),
        "dev",
        2000,
        gold,
        predicted,
        12.5,
        {"model": "mini"},
        dict.fromkeys(data_set(data).metrics, 0.9),
        {name: list(range(i, ROWS, 2)) for i, name in enumerate(parts)},
    )


def cells(table: document.Table) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in table.rows}


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def test_table5_is_laid_out_as_the_papers() -> None:
    some = [result(data, variant) for data in SETS for variant in VARIANTS]
    made = tables.table5(some, ABOUT)
    first = made.tables[0]
    assert [head.split(" ")[0] for head in first.head] == [
        "", "avg", "CoLA", "SST2", "MRPC", "STSB", "QQP", "MNLI", "QNLI", "RTE"
    ]  # fmt: skip
    assert first.head[2] == "CoLA (mc; ours: 2,000 of 8,551 rows, dev)"
    rows = cells(first)
    assert list(rows)[:2] == ["full: ours (mini, 14.0 M)", "full: the paper (116.5 M)"]
    assert "LSTM, auxiliary LM: ours (lstm-mini, 9.3 M)" in rows
    assert rows["LSTM, auxiliary LM: the paper (2,048 units)"][0] == "69.1"
    for found in some:
        metric = data_set(found.cell.data).task.metric
        place = rows[f"{tables.ROWS[found.cell.variant]}: ours ({ABOUT.of(found.cell.variant)})"]
        text = place[1 + SETS.index(found.cell.data)]
        value = METRICS[metric](found.gold, found.predicted)
        low, high = (float(x) for x in text.split("(")[1].strip(")").split(" to "))
        assert text.startswith(f"{percent(value)} (")
        assert low <= round(100 * value, 1) <= high
    full = [
        METRICS[data_set(r.cell.data).task.metric](r.gold, r.predicted)
        for r in some
        if r.cell.variant == FULL
    ]
    assert rows["full: ours (mini, 14.0 M)"][0].startswith(f"{percent(float(np.mean(full)))} (")
    assert "(all eight)" in first.note
    assert len(made.tables) == 3  # no further sets; differences; rows


def test_the_marks() -> None:
    """Nobody may take our figures and the paper's for one competition."""
    for render in (tables.table5, tables.tables2_4):
        made = render([result("sst2")], ABOUT)
        note = made.notes[0]
        assert "another model size, mini with 13,989,120 parameters, against 116,534,784" in note
        assert "at most 2,000 training rows a data set, against all of them" in note
        assert "other test rows" in note
        text = document.markdown(made)
        assert "SST2 (acc; ours: 2,000 of 67,349 rows, dev)" in text
        assert "116.5 M" in text


def test_missing_cells_are_dashes_and_averages_are_of_the_same_sets() -> None:
    some = [result("cola"), result("rte"), result("rte", NO_AUX), result("race")]
    made = tables.table5(some, ABOUT, ["QQP is not in the data folder; it is left out."])
    rows = cells(made.tables[0])
    assert list(rows) == [
        f"{name}: {whose}" for name in ("full", "without auxiliary LM")
        for whose in ("ours (mini, 14.0 M)", "the paper (116.5 M)")
    ]  # fmt: skip
    ours = rows["without auxiliary LM: ours (mini, 14.0 M)"]
    assert ours[1:-1] == ["-"] * 7
    assert ours[0].split(" ")[0] == ours[-1].split(" ")[0]  # the average is RTE alone
    assert rows["without auxiliary LM: the paper (116.5 M)"][0] == "54.4"
    assert made.tables[0].note.endswith("(RTE).")
    further = cells(made.tables[1])
    assert further["without auxiliary LM: ours (mini, 14.0 M)"] == ["-"]
    assert further["full: the paper (116.5 M)"] == ["59.0"]
    assert "without auxiliary LM: the paper (116.5 M)" not in further
    assert "QQP is not in the data folder" in document.markdown(made)

    nothing = tables.table5([result("cola"), result("rte", NO_AUX)], ABOUT)
    assert cells(nothing.tables[0])["full: ours (mini, 14.0 M)"][0] == "-"
    assert "(none)" in nothing.tables[0].note


def test_two_seeds_are_a_mean_and_a_range() -> None:
    some = [result("sst2", seed=seed, right=right) for seed, right in ((0, 0.6), (1, 0.8))]
    values = [METRICS["accuracy"](r.gold, r.predicted) for r in some]
    made = tables.table5(some[::-1], ABOUT)
    text = cells(made.tables[0])["full: ours (mini, 14.0 M)"][2]
    assert text.startswith(f"{percent(float(np.mean(values)))} (")
    assert text.endswith(f"; 2 seeds {percent(min(values))} to {percent(max(values))})")
    [figure] = made.values["figures"]
    assert figure["seeds"] == {"0": values[0], "1": values[1]}
    assert figure["seconds"] == 25.0


def test_differences_are_paired_and_say_whether_they_are_sure() -> None:
    some = [
        result("cola", right=0.95), result("cola", NO_PRETRAINING, right=0.5),
        result("cola", NO_AUX, right=0.95), result("race"), result("race", LSTM, seed=1),
    ]  # fmt: skip
    made = tables.table5(some, ABOUT)
    found = {(one["data"], one["without"]): one for one in made.values["differences"]}
    assert set(found) == {("cola", NO_PRETRAINING), ("cola", NO_AUX)}  # RACE: no seed in common
    one = found["cola", NO_PRETRAINING]
    pair = [r.predicted for r in some[:2]]
    expected = metrics.difference(
        "matthews", some[0].gold, pair[:1], pair[1:], seed=tables.seed_of("cola")
    )
    assert (one["difference"], one["low"], one["high"]) == (
        expected.value, expected.low, expected.high
    )  # fmt: skip
    assert one["outside_zero"]
    assert one["paper"] == pytest.approx(0.265)  # 45.4 - 18.9
    assert found["cola", NO_AUX]["paper"] == pytest.approx(-0.025)
    table = next(t for t in made.tables if t.title.startswith("The full way"))
    [row] = table.rows
    assert row[0] == "CoLA (mc)"
    assert row[2:4] == ("yes, better", "+26.5")
    assert row[5] == ("no" if not found["cola", NO_AUX]["outside_zero"] else row[5])

    others = result("rte", NO_AUX)
    others.gold[0] = 1 - others.gold[0]  # other rows: nothing to pair
    assert tables.table5([result("rte"), others], ABOUT).values["differences"] == []


def test_tables_2_to_4_hold_the_parts() -> None:
    some = [result(data) for data in ("mnli", "race", "qqp")] + [result("qqp", NO_AUX)]
    made = tables.tables2_4(some, ABOUT)
    assert [t.title[:7] for t in made.tables] == ["Table 2", "Table 3", "Table 4", "Rows"]
    for table, column, data, part in [
        (0, 1, "mnli", "matched"), (0, 2, "mnli", "mismatched"), (1, 2, "race", "middle"),
        (1, 3, "race", "high"), (1, 4, "race", ""), (2, 5, "qqp", ""),
    ]:  # fmt: skip
        one = next(r for r in some if r.cell.data == data)
        rows = one.parts[part] if part else list(range(ROWS))
        metric = data_set(data).task.metric
        value = METRICS[metric](one.gold[rows], one.predicted[rows])
        last = made.tables[table].rows[-1]
        assert last[0] == "ours (mini, 14.0 M)"
        assert last[column].startswith(f"{percent(value)} (")
    assert made.tables[2].rows[-1][-1] == "-"  # no GLUE score
    assert made.tables[2].rows[-2][-1] == "72.8"
    assert Figures([some[0]]).get("mnli_matched") is not None
    older = Result(**{**vars(some[0]), "parts": {}})
    assert Figures([older]).get("mnli_matched") is None


def test_the_table_of_rows_has_what_costs_nothing() -> None:
    made = tables.table5([result("sst2"), result("mrpc"), result("stsb")], ABOUT)
    rows = cells(made.tables[-1])
    gold = result("sst2").gold
    most = max(np.mean(gold == 0), np.mean(gold == 1))
    assert rows["SST2"][:6] == ["accuracy", "2,000", "67,349", "60", "dev", percent(most)]
    assert rows["STSB"][5] == "0.0"
    gold = result("mrpc").gold
    assert rows["MRPC"][5] == percent(METRICS["f1"](gold, np.ones(ROWS)))
    assert rows["MRPC"][6] == "90.0 (full)"


def test_the_table_of_rows_has_what_training_already_holds() -> None:
    some = [result("sst2"), result("sst2", NO_AUX), result("rte")]
    known = {"exact": 3, "overlapping": 1200, "rows": 2000}
    some[1] = Result.from_json(some[1].to_json() | {"leakage": known})
    made = tables.table5(some, ABOUT)
    assert made.tables[-1].head[-1] == "in training rows (exact, 13 words)"
    rows = cells(made.tables[-1])
    assert rows["SST2"][-1] == "3, 1,200"
    assert rows["RTE"][-1] == "-"
    held = {(f["data"], f["variant"]): f["leakage"] for f in made.values["figures"]}
    assert held == {("sst2", FULL): None, ("sst2", NO_AUX): known, ("rte", FULL): None}


def test_figure2_left_from_cells(tmp_path: Path) -> None:
    cells_ = cells_by_layers(["mnli"], 3, seeds=2)
    assert len(cells_) == 10
    assert cells_[0] == Cell("mnli", NO_PRETRAINING)
    assert cells_[4] == Cell("mnli")  # all blocks: the cell of table 5
    some = [result(c.data, c.variant, c.seed, layers=c.layers) for c in cells_ if c.layers != 1]
    made = figure2_left([*some, result("mnli", NO_AUX)], ABOUT, 3)
    [table] = made.tables
    assert [row[0] for row in table.rows] == ["none", "0", "1", "2", "3"]
    assert table.rows[2] == ("1", "-", "-")
    assert table.rows[4][2] == "90.0"
    points = made.values["points"]["mnli"]
    assert [point["blocks"] for point in points] == [-1, 0, 2, 3]
    assert {point["seeds"] for point in points} == {2}
    paths = document.write(made, tmp_path / "new")
    assert [path.name for path in paths] == [
        f"figure2-left.{ending}" for ending in ("md", "html", "json", "png")
    ]  # fmt: skip
    assert paths[3].read_bytes() == figures.picture(
        {"mnli": [figures.Point.of("mnli", k, [r for r in some if k == _blocks(r)])
                  for k in (-1, 0, 2, 3)]}, 3
    )  # fmt: skip
    assert json.loads(paths[2].read_text())["points"]["mnli"] == points


def _blocks(result: Result) -> int:
    if result.cell.variant == NO_PRETRAINING:
        return -1
    return 3 if result.cell.layers is None else result.cell.layers


def test_a_page_escapes_what_it_is_given() -> None:
    bad = "<script>alert(1)</script>|&amp;"
    made = document.Document(
        "a", bad, (bad,), (document.Table(bad, ("", bad), ((bad, "1"),), bad),)
    )
    page = document.page(made).decode()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 7
    assert r"\|&amp; | 1 |" in document.markdown(made)


def test_results_are_read_from_their_folder_alone(tmp_path: Path) -> None:
    some = [result("cola"), result("mnli", NO_AUX, 1)]
    for one in some:
        files = {"result.json": json_bytes(one.to_json())}
        write_folder(tmp_path / "cells" / one.cell.name, files)
    found = read_results(tmp_path)
    assert [r.to_json() for r in found] == [r.to_json() for r in some]
    assert read_results(tmp_path / "nothing") == []
    older = {k: v for k, v in some[0].to_json().items() if k not in ("parts", "leakage")}
    assert Result.from_json(older).parts == {}
    assert Result.from_json(older).leakage is None


def test_what_a_constant_answer_reaches() -> None:
    gold = np.array([0.0, 1, 1, 2, 1, 0])
    assert baseline("accuracy", gold) == 0.5
    assert baseline("f1", np.array([0.0, 0, 0, 1])) == pytest.approx(0.4)
    assert baseline("matthews", gold) == baseline("pearson", gold) == 0.0
