"""The paper's tables 2 to 5 with our figures beside, from results alone: nothing is trained here.

Every table says what ours are: another model size, fewer training rows, and often other test rows,
so that nobody reads the columns as one competition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpt1.reports.formatting import format_interval, format_percent
from gpt1.reports.sections import ABSENT, Section, Table
from gpt1.reproduction import paper
from gpt1.reproduction.document import Document
from gpt1.reproduction.paper import FULL, LSTM, NO_AUX, NO_PRETRAINING, SETS, TITLES
from gpt1.reproduction.results import ExperimentResult, Measurement, Measurements
from gpt1.tasks.bootstrap import Interval, difference
from gpt1.tasks.datasets import data_set

LINES = {
    FULL: "full",
    NO_PRETRAINING: "without pre-training",
    NO_AUX: "without auxiliary LM",
    LSTM: "LSTM, auxiliary LM",
}
"""What the variants are called in our tables."""


def table5(results: Sequence[ExperimentResult], skipped: Sequence[str] = ()) -> Document:
    """Return table 5, the same for the further data sets, and the differences of the variants.

    `skipped`: what could not be measured, and why, for the notes.
    """
    ours = Measurements(results)
    tables = [_ablations(f"Table 5: {paper.TABLE5.title}", SETS, ours, average=True)]
    further = [data for data in ours.sets if data not in SETS]
    if further:
        tables.append(_ablations("The paper's other data sets, the same way (%)", further, ours))
    others = (NO_PRETRAINING, NO_AUX, LSTM)
    pairs = [_difference(ours, data, other) for other in others for data in ours.sets]
    differences = [pair for pair in pairs if pair is not None]
    if differences:
        tables.append(_differences(differences))
    title = "Table 5 anew: what pre-training and the auxiliary loss are worth"
    return _document("table5", title, ours, skipped, tables, differences=differences)


def tables2_4(results: Sequence[ExperimentResult], skipped: Sequence[str] = ()) -> Document:
    """Return tables 2, 3 and 4 as printed, with a line of ours below."""
    ours = Measurements(results)
    tables = [_published(t, ours) for t in (paper.TABLE2, paper.TABLE3, paper.TABLE4)]
    return _document("tables2-4", "Tables 2, 3 and 4 anew", ours, skipped, tables)


def _document(
    name: str,
    title: str,
    ours: Measurements,
    skipped: Sequence[str],
    tables: Sequence[Section],
    **values: Any,
) -> Document:
    """Return tables with their caveats and the table of rows; the JSON has shares, not percent."""
    figures = [m.to_json() for whole in ours.all.values() for m in (whole, *ours.parts(whole))]
    values = {"paper_parameters": paper.PARAMETERS, "skipped": skipped, "figures": figures} | values
    return Document(name, title, [*_caveats(ours), *skipped], [*tables, _rows(ours)], values)


def _caveats(ours: Measurements) -> tuple[str, ...]:
    models = {m.results[0].model: m.results[0].parameters for m in ours.all.values()}
    sizes = " and ".join(f"{name} with {count:,} parameters" for name, count in models.items())
    most = max(measured.train_rows for measured in ours.all.values())
    return (
        f"Not the paper's model and not its data. Ours: another model size, {sizes}, against "
        f"{paper.PARAMETERS:,}; other data sizes, at most {most:,} training rows a data set, "
        f"against all of them; and other test rows: the table of rows says how many of which "
        f"split. The paper's figures are copied from its tables 2 to 5 and stand beside ours for "
        f"orientation alone.",
        "In brackets: the 95 % bootstrap interval over the measured rows. It does not include "
        "what another sample of training rows or another seed would change.",
    )


def _ablations(
    title: str, sets: Sequence[str], ours: Measurements, *, average: bool = False
) -> Section:
    """Return a line of ours and one of the paper's for each variant."""
    shared = [data for data in sets if all(ours.get(data, v) for v in ours.variants)]
    columns = [_column(ours, data) for data in sets]
    rows = []
    for variant in ours.variants:
        measured = [_text(ours.get(data, variant)) for data in sets]
        printed = [_printed(paper.figure(data, variant)) for data in sets]
        if average:
            measured.insert(0, _average([ours.all[data, variant] for data in shared]))
            printed.insert(0, _printed(paper.average(variant, shared)))
        rows.append((f"{LINES[variant]}: ours ({ours.models[variant].model})", *measured))
        if set(printed) != {ABSENT}:
            rows.append((f"{LINES[variant]}: the paper ({paper.SIZES[variant]})", *printed))
    for name in _baselines(ours):
        values = [_baseline(_any_variant(ours, data), name) for data in sets]
        rows.append((f"{name} (the same rows)", *[ABSENT] * average, *values))
    if not average:
        return Section(title, Table(("", *columns), rows))
    names = "all eight" if len(shared) == len(SETS) else ", ".join(TITLES[d] for d in shared)
    note = f"avg: over the data sets that every line of ours has ({names or 'none'})."
    return Section(title, Table(("", "avg", *columns), rows), note)


def _average(measurements: Sequence[Measurement]) -> str:
    if not measurements:
        return ABSENT
    value = float(np.mean([np.mean(list(measured.seeds.values())) for measured in measurements]))
    resampled = np.mean([measured.resample(measured.metric) for measured in measurements], axis=0)
    return format_interval(**vars(Interval.of(value, resampled)))


def _difference(ours: Measurements, data: str, other: str) -> dict[str, Any] | None:
    """Return full minus another variant, over the seeds that both have; None without any."""
    full, without = ours.get(data), ours.get(data, other)
    if full is None or without is None or not np.array_equal(full.gold, without.gold):
        return None
    seeds = sorted(full.predictions.keys() & without.predictions.keys())
    if not seeds:
        return None
    sides = ([side.predictions[seed] for seed in seeds] for side in (full, without))
    interval = difference(full.metric, full.gold, *sides, seed=full.bootstrap_seed)
    best, worse = paper.figure(data), paper.figure(data, other)
    return {
        "data": data,
        "without": other,
        "metric": full.metric,
        "seeds": seeds,
        "difference": interval.value,
        "low": interval.low,
        "high": interval.high,
        "outside_zero": not interval.low <= 0 <= interval.high,
        "paper": None if best is None or worse is None else round(best - worse, 1) / 100,
    }


def _differences(differences: Sequence[Mapping[str, Any]]) -> Section:
    others = list(dict.fromkeys(d["without"] for d in differences))
    columns = [""]
    for other in others:
        minus = "LSTM" if other == LSTM else f"without {other.removeprefix('no ')}"
        columns += [f"minus {minus}: ours", "interval outside 0", "the paper"]
    rows: dict[str, list[str]] = {}
    for pair in differences:
        name = f"{TITLES[pair['data']]} ({paper.METRICS[pair['metric']]})"
        value, low, high = (f"{100 * pair[n]:+.1f}" for n in ("difference", "low", "high"))
        better = "yes, better" if pair["difference"] > 0 else "yes, worse"
        outside = better if pair["outside_zero"] else "no"
        printed = ABSENT if pair["paper"] is None else f"{100 * pair['paper']:+.1f}"
        cells = rows.setdefault(name, [ABSENT] * 3 * len(others))
        start = 3 * others.index(pair["without"])
        cells[start : start + 3] = [f"{value} ({low} to {high})", outside, printed]
    note = (
        "In points; above 0 the full way is better. The interval is paired: both models are "
        "resampled by the same test rows."
    )
    table = Table(columns, [(name, *cells) for name, cells in rows.items()])
    return Section("The full way minus the others", table, note)


def _rows(ours: Measurements) -> Section:
    """Return which rows were trained and measured on, and what a constant answer reaches."""
    rows = []
    for data in ours.sets:
        measured = _any_variant(ours, data)
        assert measured is not None
        leakage, texts = measured.results[0].leakage, measured.results[0].shared_texts
        shared = "; ".join(f"{name} {count:,}" for name, count in texts.items())
        rows.append((
            TITLES[data], measured.metric, f"{measured.train_rows:,}",
            f"{paper.TRAIN_ROWS[data]:,}", f"{len(measured.gold):,}", measured.split,
            format_percent(measured.constant),
            f"{format_percent(measured.on_training_rows)} ({LINES[measured.variant]})",
            f"{leakage['exact']:,}, {leakage['overlapping']:,}", shared or ABSENT,
        ))  # fmt: skip
    columns = (
        "", "metric", "training rows", "the paper's", "measured rows", "of the split",
        "constant answer", "on training rows", "in training rows (exact, 13 words)",
        "single texts in training rows",
    )  # fmt: skip
    note = (
        "constant answer: what the most frequent answer among the measured rows reaches; for F1 "
        "always yes, for correlations 0. on training rows: the same metric on rows the model was "
        "trained on. in training rows: how many of the measured rows the training rows hold as a "
        "whole, and how many share a run of 13 words with them. single texts: how many have a "
        "text of at least three words that a training row has too."
    )
    return Section("Rows", Table(columns, rows), note)


def _published(table: paper.Published, ours: Measurements) -> Section:
    rows: list[tuple[str, ...]] = []
    for name in _baselines(ours):
        beside = [_baseline(ours.get(column), name) for column in table.columns]
        rows.append((f"{name} (the rows of ours)", *beside))
    for method, values in table.rows.items():
        size = f" (the paper, {paper.SIZES[FULL]})" if method == paper.OURS else ""
        rows.append((f"{method}{size}", *map(_printed, values)))
    rows.append((f"ours ({ours.models[FULL].model})", *(_text(ours.get(c)) for c in table.columns)))
    columns = ["GLUE" if c == "glue" else _column(ours, c) for c in table.columns]
    glue = "GLUE is the benchmark server's score over nine data sets; ours has none."
    title = f"Table {table.number}: {table.title}"
    return Section(title, Table(("", *columns), rows), glue if "glue" in table.columns else "")


def _column(ours: Measurements, column: str) -> str:
    """Return a column's name, its metric, and which rows ours are of."""
    data = column.partition("_")[0]
    metric = paper.METRICS[data_set(data).task.metric]
    measured = _any_variant(ours, column)
    if measured is None:
        return f"{TITLES[column]} ({metric})"
    rows = f"{measured.train_rows:,} of {paper.TRAIN_ROWS[data]:,} rows"
    return f"{TITLES[column]} ({metric}; ours: {rows}, {measured.split})"


def _any_variant(ours: Measurements, column: str) -> Measurement | None:
    return next((m for v in ours.variants if (m := ours.get(column, v))), None)


def _baselines(ours: Measurements) -> list[str]:
    """Return the names of all baselines that results have."""
    return list(dict.fromkeys(name for m in ours.all.values() for name in m.baselines))


def _baseline(measured: Measurement | None, name: str) -> str:
    value = None if measured is None else measured.baselines.get(name)
    return ABSENT if value is None else format_percent(value)


def _text(measured: Measurement | None) -> str:
    return ABSENT if measured is None else str(measured)


def _printed(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"
