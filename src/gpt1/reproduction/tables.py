"""The paper's tables 2 to 5 with our figures beside, from results alone: nothing is trained here.

Every table says what ours are: another model size, fewer training rows, and often other test rows,
so the columns are never to be read as one competition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpt1.reproduction import paper
from gpt1.reproduction.document import ABSENT, Document, Table
from gpt1.reproduction.grid import Result
from gpt1.reproduction.paper import FULL, LSTM, NO_AUX, NO_PRETRAINING, SETS
from gpt1.reproduction.results import (
    About,
    Figure,
    Figures,
    baseline,
    percent,
    seed_of,
    shown,
    title_of,
)
from gpt1.tasks import metrics
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import Interval

ROWS = {
    FULL: "full",
    NO_PRETRAINING: "without pre-training",
    NO_AUX: "without auxiliary LM",
    LSTM: "LSTM, auxiliary LM",
}


def table5(results: Sequence[Result], about: About, lost: Sequence[str] = ()) -> Document:
    """Return table 5, the same for the further data sets, and the differences of the variants.

    `lost`: what could not be measured, and why, for the notes.
    """
    figures = Figures(results)
    tables = [
        _ablations(f"Table 5: {paper.TABLE5.title}", SETS, figures, about, averages=True),
    ]
    further = [data for data in figures.sets if data not in SETS]
    if further:
        tables.append(
            _ablations("The paper's other data sets, the same way (%)", further, figures, about)
        )
    differences = [
        _difference(figures, data, other)
        for other in (NO_PRETRAINING, NO_AUX, LSTM)
        if other in figures.variants
        for data in figures.sets
    ]
    found = [one for one in differences if one]
    if found:
        tables.append(_differences(found))
    tables.append(_facts(figures))
    return Document(
        "table5",
        "Table 5 anew: what pre-training and the auxiliary loss are worth",
        (*_marks(about, figures), *lost),
        tuple(tables),
        values=_values(figures, about, lost) | {"differences": found},
    )


def tables2_4(results: Sequence[Result], about: About, lost: Sequence[str] = ()) -> Document:
    """Return tables 2, 3 and 4 as printed, with a line of ours below."""
    figures = Figures(result for result in results if result.cell.variant == FULL)
    tables = [_published(one, figures, about) for one in (paper.TABLE2, paper.TABLE3, paper.TABLE4)]
    return Document(
        "tables2-4",
        "Tables 2, 3 and 4 anew",
        (*_marks(about, figures), *lost),
        (*tables, _facts(figures)),
        values=_values(figures, about, lost),
    )


def _marks(about: About, figures: Figures) -> tuple[str, ...]:
    """Return what has to be known before our figures and the paper's are put side by side."""
    ours = f"{about.model} with {about.parameters:,} parameters"
    if LSTM in figures.variants:
        ours += f" (LSTM: {about.lstm} with {about.lstm_parameters:,})"
    counts = [figure.results[0].train_rows for figure in figures.all.values()]
    trained = f"at most {max(counts):,} training rows a data set" if counts else "no figures yet"
    return (
        f"Not the paper's model and not its data. Ours: another model size, {ours}, against "
        f"{paper.PARAMETERS:,}; other data sizes, {trained}, against all of them; and other test "
        f"rows: the table of rows says how many of which split. The paper's figures are copied "
        f"from its tables 2 to 5 and stand beside ours for orientation alone.",
        "In brackets: the 95 % bootstrap interval over the measured rows. It does not hold what "
        "another sample of training rows or another seed would change.",
    )


def _ablations(
    title: str, sets: Sequence[str], figures: Figures, about: About, *, averages: bool = False
) -> Table:
    variants = figures.variants
    shared = [data for data in sets if all(figures.get(data, v) for v in variants)]
    rows = []
    for variant in variants:
        found = [figures.get(data, variant) for data in sets]
        ours = [figure.text if figure else ABSENT for figure in found]
        theirs = [_printed(paper.figure(data, variant)) for data in sets]
        if averages:
            ours.insert(0, _average([figures.all[data, variant] for data in shared]))
            theirs.insert(0, _printed(paper.average(variant, shared)))
        rows.append((f"{ROWS[variant]}: ours ({about.of(variant)})", *ours))
        if set(theirs) != {ABSENT}:
            rows.append((f"{ROWS[variant]}: the paper ({paper.SIZES[variant]})", *theirs))
    head = [_head(figures, data) for data in sets]
    note = ""
    if averages:
        names = "all eight" if len(shared) == len(SETS) else ", ".join(map(title_of, shared))
        head.insert(0, "avg")
        note = f"avg: over the data sets that every line of ours has ({names or 'none'})."
    return Table(title, ("", *head), tuple(rows), note)


def _average(figures: Sequence[Figure]) -> str:
    if not figures:
        return ABSENT
    value = float(np.mean([figure.interval().value for figure in figures]))
    return shown(Interval.of(value, np.mean([figure.resampled() for figure in figures], axis=0)))


def _difference(figures: Figures, data: str, other: str) -> dict[str, Any] | None:
    """Return full minus another variant, over the seeds that both have; None without any."""
    ones, others = figures.get(data), figures.get(data, other)
    if ones is None or others is None:
        return None
    seeds = sorted(ones.seeds.keys() & others.seeds.keys())
    if not seeds or not np.array_equal(ones.gold, others.gold):
        return None
    sides = [
        [r.predicted for r in figure.results if r.cell.seed in seeds] for figure in (ones, others)
    ]
    found = metrics.difference(ones.metric, ones.gold, *sides, seed=seed_of(data))
    printed = [paper.figure(data), paper.figure(data, other)]
    known = [value for value in printed if value is not None]
    return {
        "data": data,
        "without": other,
        "metric": ones.metric,
        "seeds": seeds,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "outside_zero": not found.low <= 0 <= found.high,
        "paper": round(known[0] - known[1], 1) / 100 if len(known) == 2 else None,
    }


def _differences(found: Sequence[Mapping[str, Any]]) -> Table:
    others = [v for v in paper.VARIANTS if any(one["without"] == v for one in found)]
    head = [""]
    for other in others:
        label = "LSTM" if other == LSTM else other.removeprefix("no ")
        minus = "minus LSTM" if other == LSTM else f"minus without {label}"
        head += [f"{minus}: ours", "interval outside 0", "the paper"]
    rows = []
    for data in dict.fromkeys(one["data"] for one in found):
        cells = [f"{title_of(data)} ({paper.METRICS[data_set(data).task.metric]})"]
        for other in others:
            one = next((o for o in found if (o["data"], o["without"]) == (data, other)), None)
            if one is None:
                cells += [ABSENT] * 3
                continue
            ends = f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}"
            value = 100 * one["difference"]
            outside = "no"
            if one["outside_zero"]:
                outside = "yes, better" if value > 0 else "yes, worse"
            printed = ABSENT if one["paper"] is None else f"{100 * one['paper']:+.1f}"
            cells += [f"{value:+.1f} ({ends})", outside, printed]
        rows.append(tuple(cells))
    note = (
        "In points; above 0 the full way is better. The interval is paired: both models are "
        "resampled by the same test rows."
    )
    return Table("The full way minus the others", tuple(head), tuple(rows), note)


def _facts(figures: Figures) -> Table:
    """Return what was trained and measured on, and what can be had for nothing."""
    rows = []
    for data in figures.sets:
        some = [figures.all[key] for key in figures.all if key[0] == data]
        figure = next((one for one in some if one.variant == FULL), some[0])
        result = figure.results[0]
        fitted = result.train_figures.get(figure.metric)
        rows.append(
            (
                title_of(data),
                figure.metric,
                f"{result.train_rows:,}",
                f"{paper.TRAIN_ROWS[data]:,}" if data in paper.TRAIN_ROWS else ABSENT,
                f"{len(figure.gold):,}",
                result.split,
                percent(baseline(figure.metric, figure.gold)),
                ABSENT if fitted is None else f"{percent(fitted)} ({ROWS[figure.variant]})",
                _leaked(
                    next((one.leakage for f in some for one in f.results if one.leakage), None)
                ),
            )
        )
    head = (
        "", "metric", "training rows", "the paper's", "measured rows", "of the split",
        "constant answer", "on training rows", "in training rows (exact, 13 words)",
    )  # fmt: skip
    note = (
        "constant answer: what the most frequent answer among the measured rows reaches; for F1 "
        "always yes, for correlations 0. on training rows: the same metric on rows that were "
        "learnt from. in training rows: how many of the measured rows the training rows hold as a "
        "whole, and how many share a run of 13 words with them."
    )
    return Table("Rows", head, tuple(rows), note)


def _leaked(found: Mapping[str, int] | None) -> str:
    return f"{found['exact']:,}, {found['overlapping']:,}" if found else ABSENT


def _published(one: paper.Published, figures: Figures, about: About) -> Table:
    rows = [
        (
            f"{row.method} (the paper, {paper.SIZES[FULL]})"
            if row.method == paper.OURS
            else row.method,
            *map(_printed, row.values),
        )
        for row in one.rows
    ]
    found = [figures.get(column) for column in one.columns]
    rows.append((f"ours ({about.of(FULL)})", *(f.text if f else ABSENT for f in found)))
    head = ["GLUE" if column == "glue" else _head(figures, column) for column in one.columns]
    note = ""
    if "glue" in one.columns:
        note = "GLUE is the benchmark server's score over nine data sets; ours has none."
    return Table(f"Table {one.number}: {one.title}", ("", *head), tuple(rows), note)


def _head(figures: Figures, column: str) -> str:
    """Return a column's name, its metric, and of what ours are."""
    data = column.partition("_")[0]
    metric = paper.METRICS[data_set(data).task.metric]
    known = [one for v in figures.variants if (one := figures.get(column, v))]
    if not known:
        return f"{title_of(column)} ({metric})"
    result = known[0].results[0]
    against = f" of {paper.TRAIN_ROWS[data]:,}" if data in paper.TRAIN_ROWS else ""
    rows = f"{result.train_rows:,}{against} rows"
    return f"{title_of(column)} ({metric}; ours: {rows}, {result.split})"


def _values(figures: Figures, about: About, lost: Sequence[str]) -> dict[str, Any]:
    """Return all that the tables are made of, as JSON values; shares, not percent."""
    cells = []
    for figure in figures.all.values():
        data = data_set(figure.data)
        parts = sorted(set.intersection(*(set(result.parts) for result in figure.results)))
        for part in ("", *parts):
            one = figures.get(f"{figure.data}_{part}" if part else figure.data, figure.variant)
            if one is None:
                continue
            printed = paper.figure(one.name, one.variant)
            cells.append(
                {
                    "data": one.name,
                    "variant": one.variant,
                    "split": one.results[0].split,
                    "train_rows": one.results[0].train_rows,
                    "rows": len(one.rows),
                    "metrics": {name: vars(one.interval(name)) for name in data.metrics},
                    "seeds": {str(seed): value for seed, value in one.seeds.items()},
                    "train_figures": one.results[0].train_figures,
                    "leakage": one.results[0].leakage,
                    "constant_answer": baseline(one.metric, one.gold),
                    "paper": None if printed is None else round(printed / 100, 4),
                    "seconds": sum(result.seconds for result in one.results),
                }
            )
    return {
        "models": vars(about) | {"paper_parameters": paper.PARAMETERS},
        "lost": list(lost),
        "figures": cells,
    }


def _printed(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"
