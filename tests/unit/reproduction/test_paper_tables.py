"""Tables and figures from invented results: what they say, and what they leave out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gpt1.reports.formatting import format_percent
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
    read_results,
)
from gpt1.tasks import bootstrap
from gpt1.tasks.bootstrap import difference
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import METRICS

OURS = "ours (mini, 14.0 M)"
ROWS = 60


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "SAMPLES", 200)


def result(
    data: str, variant: str = FULL, seed: int = 0, right: float = 0.7, layers: int | None = None
) -> ExperimentResult:
    """Return a result that is right with a probability, on the same rows for each data set."""
    task = data_set(data).task
    chance = np.random.default_rng(len(data))
    noise = np.random.default_rng([seed, len(variant), layers or 0])
    if not task.label_names:
        gold = chance.uniform(0, 5, ROWS)
        predicted = gold + noise.normal(size=ROWS) * 3 * (1 - right)
    else:
        classes = len(task.label_names)
        gold = chance.integers(classes, size=ROWS).astype(float)
        predicted = np.where(noise.random(ROWS) < right, gold, (gold + 1) % classes)
    parts = {"mnli": ("matched", "mismatched"), "race": ("middle", "high")}.get(data, ())
    return ExperimentResult(
        experiment=Experiment(data, variant, seed, layers),
        model="lstm-mini" if variant == LSTM else "mini",
        parameters=9_314_688 if variant == LSTM else 13_989_120,
        split="dev",
        train_rows=2000,
        gold=gold.tolist(),
        predicted=predicted.tolist(),
        seconds=12.5,
        settings={},
        train_metrics=dict.fromkeys(data_set(data).metrics, 0.9),
        parts={name: list(range(i, ROWS, 2)) for i, name in enumerate(parts)},
        leakage={"exact": 3, "overlapping": 1200, "rows": ROWS},
        shared_texts={"premise": 7},
        baselines={"TF-IDF": gold.tolist()},
    )


def value(one: ExperimentResult, part: str = "") -> float:
    rows = one.parts[part] if part else range(ROWS)
    metric = METRICS[data_set(one.experiment.data).task.metric]
    return metric(np.array(one.gold)[rows], np.array(one.predicted)[rows])


def table_of(section: Section) -> Table:
    assert isinstance(section.content, Table)
    return section.content


def cells(section: Section) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in table_of(section).rows}


def test_table5_is_laid_out_as_the_papers() -> None:
    some = [result(data, variant) for data in SETS for variant in VARIANTS]
    made = tables.table5(some)
    first = made.sections[0]
    columns = table_of(first).columns
    assert [name.split(" ")[0] for name in columns] == [
        "", "avg", "CoLA", "SST2", "MRPC", "STSB", "QQP", "MNLI", "QNLI", "RTE"
    ]  # fmt: skip
    assert columns[2] == "CoLA (mc; ours: 2,000 of 8,551 rows, dev)"
    rows = cells(first)
    assert rows["TF-IDF (the same rows)"][1:] == ["100.0"] * 8
    assert len(set(rows["majority (the same rows)"][1:])) > 2
    assert list(rows)[:2] == [f"full: {OURS}", "full: the paper (116.5 M)"]
    assert rows["LSTM, auxiliary LM: the paper (2,048 units)"][0] == "69.1"
    for one in some:
        variant = one.experiment.variant
        model = "lstm-mini, 9.3 M" if variant == LSTM else "mini, 14.0 M"
        line = rows[f"{tables.LINES[variant]}: ours ({model})"]
        text = line[1 + SETS.index(one.experiment.data)]
        low, high = (float(x) for x in text.split("(")[1].strip(")").split(" to "))
        assert text.startswith(f"{format_percent(value(one))} (")
        assert low <= round(100 * value(one), 1) <= high
    full = [value(one) for one in some if one.experiment.variant == FULL]
    assert rows[f"full: {OURS}"][0].startswith(f"{format_percent(float(np.mean(full)))} (")
    assert "(all eight)" in first.note
    assert len(made.sections) == 3  # no further sets; differences; rows


@pytest.mark.parametrize("render", [tables.table5, tables.tables2_4])
def test_nobody_takes_our_figures_and_the_papers_for_one_competition(render: object) -> None:
    assert callable(render)
    made = render([result("sst2")])
    note = made.notes[0]
    assert "another model size, mini with 13,989,120 parameters, against 116,534,784" in note
    assert "at most 2,000 training rows a data set, against all of them" in note
    assert "other test rows" in note
    text = made.to_markdown()
    assert "SST2 (acc; ours: 2,000 of 67,349 rows, dev)" in text
    assert "116.5 M" in text


def test_missing_cells_are_dashes_and_averages_are_of_the_same_sets() -> None:
    some = [result("cola"), result("rte"), result("rte", NO_AUX), result("race")]
    made = tables.table5(some, ["QQP is not in the data folder; it is left out."])
    rows = cells(made.sections[0])
    full, paper = f"without auxiliary LM: {OURS}", "without auxiliary LM: the paper (116.5 M)"
    simple = ["majority (the same rows)", "TF-IDF (the same rows)"]
    assert list(rows) == [f"full: {OURS}", "full: the paper (116.5 M)", full, paper, *simple]
    assert rows[full][1:-1] == ["-"] * 7
    assert rows[full][0].split(" ")[0] == rows[full][-1].split(" ")[0]  # the average is RTE alone
    assert rows[paper][0] == "54.4"
    assert made.sections[0].note.endswith("(RTE).")
    further = cells(made.sections[1])
    assert further[full] == ["-"]
    assert further["full: the paper (116.5 M)"] == ["59.0"]
    assert paper not in further
    assert "QQP is not in the data folder" in made.to_markdown()

    nothing = tables.table5([result("cola"), result("rte", NO_AUX)])
    assert cells(nothing.sections[0])[f"full: {OURS}"][0] == "-"
    assert "(none)" in nothing.sections[0].note


def test_two_seeds_are_a_mean_and_a_range() -> None:
    some = [result("sst2", seed=seed, right=right) for seed, right in ((0, 0.6), (1, 0.8))]
    values = list(map(value, some))
    made = tables.table5(some[::-1])
    text = cells(made.sections[0])[f"full: {OURS}"][2]
    assert text.startswith(f"{format_percent(float(np.mean(values)))} (")
    assert text.endswith(
        f"; 2 seeds {format_percent(min(values))} to {format_percent(max(values))})"
    )
    [figure] = made.values["figures"]
    assert figure["seeds"] == {"0": values[0], "1": values[1]}
    assert figure["seconds"] == 25.0


def test_differences_are_paired_and_say_whether_they_are_sure() -> None:
    some = [
        result("cola", right=0.95), result("cola", NO_PRETRAINING, right=0.5),
        result("cola", NO_AUX, right=0.95), result("race"), result("race", LSTM, seed=1),
    ]  # fmt: skip
    made = tables.table5(some)
    found = {(one["data"], one["without"]): one for one in made.values["differences"]}
    assert set(found) == {("cola", NO_PRETRAINING), ("cola", NO_AUX)}  # RACE: no seed in common
    one = found["cola", NO_PRETRAINING]
    sides = ([some[0].predicted], [some[1].predicted])
    seed = Measurement(some[:1]).bootstrap_seed
    expected = vars(difference("matthews", some[0].gold, *sides, seed=seed))
    assert {"difference": expected.pop("value"), **expected}.items() <= one.items()
    assert one["outside_zero"]
    assert one["paper"] == pytest.approx(0.265)  # 45.4 - 18.9
    assert found["cola", NO_AUX]["paper"] == pytest.approx(-0.025)
    assert not found["cola", NO_AUX]["outside_zero"]
    table = next(t for t in made.sections if t.title.startswith("The full way"))
    [row] = table_of(table).rows
    assert row[0] == "CoLA (mc)"
    assert row[2:4] == ("yes, better", "+26.5")
    assert row[5] == "no"

    other = result("rte", NO_AUX)
    other.gold[0] = 1 - other.gold[0]  # other rows: nothing to pair
    assert tables.table5([result("rte"), other]).values["differences"] == []


def test_tables_2_to_4_hold_the_parts() -> None:
    some = {data: result(data) for data in ("mnli", "race", "qqp")}
    made = tables.tables2_4(list(some.values()))
    assert [t.title[:7] for t in made.sections] == ["Table 2", "Table 3", "Table 4", "Rows"]
    for table, column, data, part in [
        (0, 1, "mnli", "matched"), (0, 2, "mnli", "mismatched"), (1, 2, "race", "middle"),
        (1, 3, "race", "high"), (1, 4, "race", ""), (2, 5, "qqp", ""),
    ]:  # fmt: skip
        last = table_of(made.sections[table]).rows[-1]
        assert last[0] == OURS
        assert last[column].startswith(f"{format_percent(value(some[data], part))} (")
    assert [row[-1] for row in table_of(made.sections[2]).rows[-2:]] == ["72.8", "-"]  # GLUE
    whole = some["mnli"].model_copy(update={"parts": {}})
    assert Measurements([whole]).get("mnli_matched") is None


def test_the_table_of_rows_has_what_costs_nothing() -> None:
    made = tables.table5([result("sst2"), result("mrpc"), result("stsb")])
    rows = cells(made.sections[-1])
    gold = np.array(result("sst2").gold)
    most = max(np.mean(gold == 0), np.mean(gold == 1))
    assert rows["SST2"][:6] == ["accuracy", "2,000", "67,349", "60", "dev", format_percent(most)]
    assert rows["STSB"][5] == "0.0"
    assert rows["MRPC"][5] == format_percent(METRICS["f1"](result("mrpc").gold, np.ones(ROWS)))
    assert rows["MRPC"][6:] == ["90.0 (full)", "3, 1,200", "premise 7"]
    assert {figure["leakage"]["exact"] for figure in made.values["figures"]} == {3}


def test_figure2_left(tmp_path: Path) -> None:
    experiments = experiments_by_layers(["mnli"], 3, seeds=2)
    assert len(experiments) == 10
    assert experiments[0] == Experiment("mnli", NO_PRETRAINING)
    assert experiments[4] == Experiment("mnli")  # all blocks: that of table 5
    some = [
        result(e.data, e.variant, e.seed, layers=e.layers) for e in experiments if e.layers != 1
    ]
    made = figure2_left(some, ["one more note"], layers=3)
    rows = cells(made.sections[0])
    assert list(rows) == ["none", "0", "1", "2", "3"]
    assert rows["1"] == ["-", "-"]
    assert rows["3"][1] == "90.0"
    points = made.values["points"]["mnli"]
    assert [point["blocks"] for point in points] == [-1, 0, 2, 3]
    assert {len(point["seeds"]) for point in points} == {2}
    assert made.notes[-1] == "one more note"
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
    assert page.count("&lt;script&gt;") == 8
    assert r"\|\&amp; | 1 |" in made.to_markdown()


def test_results_are_read_from_their_folder_alone(tmp_path: Path) -> None:
    some = [result("cola"), result("mnli", NO_AUX, 1)]
    for one in some:
        one.write(tmp_path / "experiments" / one.experiment.name)
    assert read_results(tmp_path) == some
    assert read_results(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("data", "gold", "reached"),
    [("rte", [0, 1, 1, 0, 1, 0, 1], 4 / 7), ("mrpc", [0, 0, 0, 1], 0.4), ("cola", [0, 1], 0.0)],
)
def test_what_a_constant_answer_reaches(data: str, gold: list[float], reached: float) -> None:
    one = result(data).model_copy(update={"gold": gold, "predicted": gold})
    assert Measurement([one]).constant == pytest.approx(reached)
