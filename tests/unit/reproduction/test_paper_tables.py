"""Tables and figures from invented results: what they say, and what they leave out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt1.reports.sections import Section, Table
from gpt1.reproduction import tables
from gpt1.reproduction.document import Document
from gpt1.reproduction.figures import experiments_by_layers, figure2_left
from gpt1.reproduction.paper import FULL, LSTM, NO_AUX, NO_PRETRAINING, SETS, VARIANTS
from gpt1.reproduction.results import (
    Experiment,
    ExperimentResult,
    Measurement,
    Measurements,
    Models,
    baseline,
    percent,
    read_results,
)
from gpt1.tasks.bootstrap import difference
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import METRICS

MODELS = Models("mini", 13_989_120, "lstm-mini", 9_314_688)
ROWS = 60


def result(
    data: str, variant: str = FULL, seed: int = 0, right: float = 0.7, **more: Any
) -> ExperimentResult:
    """Return a result that is right with a probability, on the same rows for each data set."""
    task = data_set(data).task
    chance = np.random.default_rng(len(data))
    noise = np.random.default_rng([seed, len(variant), more.get("layers") or 0])
    if not task.label_names:
        gold = chance.uniform(0, 5, ROWS)
        predicted = gold + noise.normal(size=ROWS) * 3 * (1 - right)
    else:
        classes = len(task.label_names)
        gold = chance.integers(classes, size=ROWS).astype(float)
        predicted = np.where(noise.random(ROWS) < right, gold, (gold + 1) % classes)
    parts = {"mnli": ("matched", "mismatched"), "race": ("middle", "high")}.get(data, ())
    return ExperimentResult(
        Experiment(data, variant, seed, more.get("layers")),
        "dev",
        2000,
        gold,
        predicted,
        12.5,
        {"model": "mini"},
        dict.fromkeys(data_set(data).metrics, 0.9),
        {name: list(range(i, ROWS, 2)) for i, name in enumerate(parts)},
        {"exact": 3, "overlapping": 1200, "rows": ROWS},
    )


def table_of(section: Section) -> Table:
    assert isinstance(section.content, Table)
    return section.content


def cells(section: Section) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in table_of(section).rows}


def test_table5_is_laid_out_as_the_papers() -> None:
    some = [result(data, variant) for data in SETS for variant in VARIANTS]
    made = tables.table5(some, MODELS)
    first = made.sections[0]
    columns = table_of(first).columns
    assert [name.split(" ")[0] for name in columns] == [
        "", "avg", "CoLA", "SST2", "MRPC", "STSB", "QQP", "MNLI", "QNLI", "RTE"
    ]  # fmt: skip
    assert columns[2] == "CoLA (mc; ours: 2,000 of 8,551 rows, dev)"
    rows = cells(first)
    assert list(rows)[:2] == ["full: ours (mini, 14.0 M)", "full: the paper (116.5 M)"]
    assert "LSTM, auxiliary LM: ours (lstm-mini, 9.3 M)" in rows
    assert rows["LSTM, auxiliary LM: the paper (2,048 units)"][0] == "69.1"
    for found in some:
        metric = data_set(found.experiment.data).task.metric
        variant = found.experiment.variant
        line = rows[f"{tables.LINES[variant]}: ours ({MODELS.describe(variant)})"]
        text = line[1 + SETS.index(found.experiment.data)]
        value = METRICS[metric](found.gold, found.predicted)
        low, high = (float(x) for x in text.split("(")[1].strip(")").split(" to "))
        assert text.startswith(f"{percent(value)} (")
        assert low <= round(100 * value, 1) <= high
    full = [
        METRICS[data_set(r.experiment.data).task.metric](r.gold, r.predicted)
        for r in some
        if r.experiment.variant == FULL
    ]
    assert rows["full: ours (mini, 14.0 M)"][0].startswith(f"{percent(float(np.mean(full)))} (")
    assert "(all eight)" in first.note
    assert len(made.sections) == 3  # no further sets; differences; rows


def test_the_marks() -> None:
    """Nobody may take our figures and the paper's for one competition."""
    for render in (tables.table5, tables.tables2_4):
        made = render([result("sst2")], MODELS)
        note = made.notes[0]
        assert "another model size, mini with 13,989,120 parameters, against 116,534,784" in note
        assert "at most 2,000 training rows a data set, against all of them" in note
        assert "other test rows" in note
        text = made.to_markdown()
        assert "SST2 (acc; ours: 2,000 of 67,349 rows, dev)" in text
        assert "116.5 M" in text


def test_missing_cells_are_dashes_and_averages_are_of_the_same_sets() -> None:
    some = [result("cola"), result("rte"), result("rte", NO_AUX), result("race")]
    made = tables.table5(some, MODELS, ["QQP is not in the data folder; it is left out."])
    rows = cells(made.sections[0])
    assert list(rows) == [
        f"{name}: {whose}" for name in ("full", "without auxiliary LM")
        for whose in ("ours (mini, 14.0 M)", "the paper (116.5 M)")
    ]  # fmt: skip
    ours = rows["without auxiliary LM: ours (mini, 14.0 M)"]
    assert ours[1:-1] == ["-"] * 7
    assert ours[0].split(" ")[0] == ours[-1].split(" ")[0]  # the average is RTE alone
    assert rows["without auxiliary LM: the paper (116.5 M)"][0] == "54.4"
    assert made.sections[0].note.endswith("(RTE).")
    further = cells(made.sections[1])
    assert further["without auxiliary LM: ours (mini, 14.0 M)"] == ["-"]
    assert further["full: the paper (116.5 M)"] == ["59.0"]
    assert "without auxiliary LM: the paper (116.5 M)" not in further
    assert "QQP is not in the data folder" in made.to_markdown()

    nothing = tables.table5([result("cola"), result("rte", NO_AUX)], MODELS)
    assert cells(nothing.sections[0])["full: ours (mini, 14.0 M)"][0] == "-"
    assert "(none)" in nothing.sections[0].note


def test_two_seeds_are_a_mean_and_a_range() -> None:
    some = [result("sst2", seed=seed, right=right) for seed, right in ((0, 0.6), (1, 0.8))]
    values = [METRICS["accuracy"](r.gold, r.predicted) for r in some]
    made = tables.table5(some[::-1], MODELS)
    text = cells(made.sections[0])["full: ours (mini, 14.0 M)"][2]
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
    made = tables.table5(some, MODELS)
    found = {(one["data"], one["without"]): one for one in made.values["differences"]}
    assert set(found) == {("cola", NO_PRETRAINING), ("cola", NO_AUX)}  # RACE: no seed in common
    one = found["cola", NO_PRETRAINING]
    pair = [r.predicted for r in some[:2]]
    expected = difference(
        "matthews",
        some[0].gold,
        pair[:1],
        pair[1:],
        seed=Measurement("cola", FULL, ()).bootstrap_seed,
    )
    assert (one["difference"], one["low"], one["high"]) == (
        expected.value, expected.low, expected.high
    )  # fmt: skip
    assert one["outside_zero"]
    assert one["paper"] == pytest.approx(0.265)  # 45.4 - 18.9
    assert found["cola", NO_AUX]["paper"] == pytest.approx(-0.025)
    table = next(t for t in made.sections if t.title.startswith("The full way"))
    [row] = table_of(table).rows
    assert row[0] == "CoLA (mc)"
    assert row[2:4] == ["yes, better", "+26.5"]
    assert row[5] == ("no" if not found["cola", NO_AUX]["outside_zero"] else row[5])

    others = result("rte", NO_AUX)
    others.gold[0] = 1 - others.gold[0]  # other rows: nothing to pair
    assert tables.table5([result("rte"), others], MODELS).values["differences"] == []


def test_tables_2_to_4_hold_the_parts() -> None:
    some = [result(data) for data in ("mnli", "race", "qqp")] + [result("qqp", NO_AUX)]
    made = tables.tables2_4(some, MODELS)
    assert [t.title[:7] for t in made.sections] == ["Table 2", "Table 3", "Table 4", "Rows"]
    for table, column, data, part in [
        (0, 1, "mnli", "matched"), (0, 2, "mnli", "mismatched"), (1, 2, "race", "middle"),
        (1, 3, "race", "high"), (1, 4, "race", ""), (2, 5, "qqp", ""),
    ]:  # fmt: skip
        one = next(r for r in some if r.experiment.data == data)
        rows = one.parts[part] if part else list(range(ROWS))
        metric = data_set(data).task.metric
        value = METRICS[metric](one.gold[rows], one.predicted[rows])
        last = table_of(made.sections[table]).rows[-1]
        assert last[0] == "ours (mini, 14.0 M)"
        assert last[column].startswith(f"{percent(value)} (")
    assert table_of(made.sections[2]).rows[-1][-1] == "-"  # no GLUE score
    assert table_of(made.sections[2]).rows[-2][-1] == "72.8"
    assert Measurements([some[0]]).get("mnli_matched") is not None
    whole = replace(some[0], parts={})
    assert Measurements([whole]).get("mnli_matched") is None


def test_the_table_of_rows_has_what_costs_nothing() -> None:
    made = tables.table5([result("sst2"), result("mrpc"), result("stsb")], MODELS)
    rows = cells(made.sections[-1])
    gold = result("sst2").gold
    most = max(np.mean(gold == 0), np.mean(gold == 1))
    assert rows["SST2"][:6] == ["accuracy", "2,000", "67,349", "60", "dev", percent(most)]
    assert rows["STSB"][5] == "0.0"
    gold = result("mrpc").gold
    assert rows["MRPC"][5] == percent(METRICS["f1"](gold, np.ones(ROWS)))
    assert rows["MRPC"][6:] == ["90.0 (full)", "3, 1,200"]
    assert {figure["leakage"]["exact"] for figure in made.values["figures"]} == {3}


def test_figure2_left(tmp_path: Path) -> None:
    experiments = experiments_by_layers(["mnli"], 3, seeds=2)
    assert len(experiments) == 10
    assert experiments[0] == Experiment("mnli", NO_PRETRAINING)
    assert experiments[4] == Experiment("mnli")  # all blocks: that of table 5
    some = [
        result(e.data, e.variant, e.seed, layers=e.layers) for e in experiments if e.layers != 1
    ]
    made = figure2_left([*some, result("mnli", NO_AUX)], MODELS, layers=3)
    rows = cells(made.sections[0])
    assert list(rows) == ["none", "0", "1", "2", "3"]
    assert rows["1"] == ["-", "-"]
    assert rows["3"][1] == "90.0"
    points = made.values["points"]["mnli"]
    assert [point["blocks"] for point in points] == [-1, 0, 2, 3]
    assert {point["seeds"] for point in points} == {2}
    paths = made.write(tmp_path / "new")
    assert [path.name for path in paths] == [
        f"figure2-left.{ending}" for ending in ("md", "html", "json", "png")
    ]  # fmt: skip
    assert paths[3].read_bytes().startswith(b"\x89PNG")
    assert json.loads(paths[2].read_text())["points"]["mnli"] == points


def test_a_page_escapes_what_it_is_given() -> None:
    bad = "<script>alert(1)</script>|&amp;"
    made = Document("a", bad, (bad,), (Section(bad, Table(("", bad), [(bad, "1")]), bad),))
    page = made.to_html().decode()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 7
    assert r"\|&amp; | 1 |" in made.to_markdown()


def test_results_are_read_from_their_folder_alone(tmp_path: Path) -> None:
    some = [result("cola"), result("mnli", NO_AUX, 1)]
    for one in some:
        one.write(tmp_path / "experiments" / one.experiment.name)
    assert str(read_results(tmp_path)) == str(some)
    assert [r.predicted.tolist() for r in read_results(tmp_path)] == [
        r.predicted.tolist() for r in some
    ]  # fmt: skip
    assert read_results(tmp_path / "nothing") == []


def test_what_a_constant_answer_reaches() -> None:
    gold = np.array([0.0, 1, 1, 2, 1, 0])
    assert baseline("accuracy", gold) == 0.5
    assert baseline("f1", np.array([0.0, 0, 0, 1])) == pytest.approx(0.4)
    assert baseline("matthews", gold) == baseline("pearson", gold) == 0.0
