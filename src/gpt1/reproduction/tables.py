"""The paper's tables 2 to 5 with our figures beside, from results alone: nothing is trained here.

Every table says what ours are: another model size, fewer training rows, and often other test rows,
so the columns are never to be read as one competition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gpt1.evaluation.metrics import Interval
from gpt1.reproduction import intervals, paper
from gpt1.reproduction.document import ABSENT, Document, Table
from gpt1.reproduction.grid import Result
from gpt1.reproduction.paper import FULL, FURTHER, LSTM, NO_AUX, NO_PRETRAINING, SETS, TITLES
from gpt1.tasks.datasets import data_set

ROWS = {
    FULL: "full",
    NO_PRETRAINING: "without pre-training",
    NO_AUX: "without auxiliary LM",
    LSTM: "LSTM, auxiliary LM",
}


@dataclass(frozen=True)
class About:
    """The models that were fine-tuned: their names, and how many weights they have."""

    model: str
    parameters: int
    lstm: str = ""
    lstm_parameters: int = 0

    def of(self, variant: str) -> str:
        """Return the name and the size of a variant's model."""
        if variant == LSTM:
            return f"{self.lstm}, {_millions(self.lstm_parameters)}"
        return f"{self.model}, {_millions(self.parameters)}"


@dataclass(frozen=True)
class Figure:
    """One figure: a data set or a part of it, a variant, all seeds."""

    data: str
    variant: str
    results: tuple[Result, ...]
    part: str = ""

    @property
    def name(self) -> str:
        """The data set, or the part of it, as in paper.TITLES."""
        return f"{self.data}_{self.part}" if self.part else self.data

    @property
    def metric(self) -> str:
        """The paper's metric for it."""
        return data_set(self.data).task.metric

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The indices of the rows it is about."""
        result = self.results[0]
        if self.part:
            return np.array(result.parts[self.part], np.int64)
        return np.arange(len(result.gold))

    @property
    def gold(self) -> NDArray[np.float64]:
        """The right answers."""
        return self.results[0].gold[self.rows]

    @property
    def predictions(self) -> list[NDArray[np.float64]]:
        """What was predicted, of each seed."""
        return [result.predicted[self.rows] for result in self.results]

    def interval(self, metric: str | None = None) -> Interval:
        """Return the seeds' mean with its bootstrap interval."""
        chosen = metric or self.metric
        return intervals.interval(chosen, self.gold, self.predictions, seed=_seed(self.data))

    @property
    def seeds(self) -> dict[int, float]:
        """The metric of each seed."""
        pairs = zip(self.results, self.predictions, strict=True)
        return {r.cell.seed: intervals.value(self.metric, self.gold, [p]) for r, p in pairs}

    @cached_property
    def text(self) -> str:
        """The figure for people: value (interval), and the seeds' range if there are several."""
        seeds = ""
        if len(self.results) > 1:
            values = self.seeds.values()
            seeds = f"; {len(values)} seeds {_pc(min(values))} to {_pc(max(values))}"
        return _shown(self.interval(), seeds)


class Figures:
    """All results of whole models, found by data set and variant."""

    def __init__(self, results: Iterable[Result]) -> None:
        found: dict[tuple[str, str], list[Result]] = {}
        for result in results:
            if result.cell.layers is None:
                found.setdefault((result.cell.data, result.cell.variant), []).append(result)
        self.all = {
            (data, variant): Figure(
                data, variant, tuple(sorted(some, key=lambda result: result.cell.seed))
            )
            for (data, variant), some in found.items()
        }

    @property
    def variants(self) -> list[str]:
        """The variants that have a figure, in the paper's order."""
        return [v for v in paper.VARIANTS if any(variant == v for _, variant in self.all)]

    @property
    def sets(self) -> list[str]:
        """The data sets that have a figure, in the paper's order."""
        known = {data for data, _ in self.all}
        order = [*SETS, *FURTHER]
        return [d for d in order if d in known] + sorted(known - set(order))

    def get(self, column: str, variant: str = FULL) -> Figure | None:
        """Return the figure of a data set, or of a part such as mnli_matched; None without one."""
        data, _, part = column.partition("_")
        found = self.all.get((data, variant))
        if found is None or not part:
            return found
        if not all(result.parts.get(part) for result in found.results):
            return None
        return Figure(data, variant, found.results, part)


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
        rows.append((f"{ROWS[variant]}: the paper (116.5 M)", *theirs))
    head = [_head(figures, data) for data in sets]
    note = ""
    if averages:
        names = "all eight" if len(shared) == len(SETS) else ", ".join(map(_title, shared))
        head.insert(0, "avg")
        note = f"avg: over the data sets that every line of ours has ({names or 'none'})."
    return Table(title, ("", *head), tuple(rows), note)


def _average(figures: Sequence[Figure]) -> str:
    if not figures:
        return ABSENT
    drawn = [
        intervals.draws(one.metric, one.gold, one.predictions, seed=_seed(one.data))
        for one in figures
    ]
    values = [intervals.value(one.metric, one.gold, one.predictions) for one in figures]
    return _shown(intervals.between(float(np.mean(values)), np.mean(drawn, axis=0)))


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
    found = intervals.difference(ones.metric, ones.gold, *sides, seed=_seed(data))
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
        cells = [f"{_title(data)} ({paper.METRICS[data_set(data).task.metric]})"]
        for other in others:
            one = next((o for o in found if (o["data"], o["without"]) == (data, other)), None)
            if one is None:
                cells += [ABSENT] * 3
                continue
            ends = f"{100 * one['low']:+.1f} to {100 * one['high']:+.1f}"
            value = 100 * one["difference"]
            outside = ("yes, better" if value > 0 else "yes, worse") if one["outside_zero"] else "no"
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
                _title(data),
                figure.metric,
                f"{result.train_rows:,}",
                f"{paper.TRAIN_ROWS[data]:,}" if data in paper.TRAIN_ROWS else ABSENT,
                f"{len(figure.gold):,}",
                result.split,
                _pc(intervals.baseline(figure.metric, figure.gold)),
                ABSENT if fitted is None else f"{_pc(fitted)} ({ROWS[figure.variant]})",
            )
        )
    head = (
        "", "metric", "training rows", "the paper's", "measured rows", "of the split",
        "constant answer", "on training rows",
    )  # fmt: skip
    note = (
        "constant answer: what the most frequent answer among the measured rows reaches; for F1 "
        "always yes, for correlations 0. on training rows: the same metric on rows that were "
        "learnt from."
    )
    return Table("Rows", head, tuple(rows), note)


def _published(one: paper.Published, figures: Figures, about: About) -> Table:
    rows = [
        (
            f"{row.method} (the paper, 116.5 M)" if row.method == paper.OURS else row.method,
            *map(_printed, row.values),
        )
        for row in one.rows
    ]
    found = [figures.get(column) for column in one.columns]
    rows.append((f"ours ({about.of(FULL)})", *(f.text if f else ABSENT for f in found)))
    head = [column.upper() if column == "glue" else _head(figures, column) for column in one.columns]
    note = "" if "glue" not in one.columns else (
        "GLUE is the benchmark server's score over nine data sets; ours has none."
    )  # fmt: skip
    return Table(f"Table {one.number}: {one.title}", ("", *head), tuple(rows), note)


def _head(figures: Figures, column: str) -> str:
    """Return a column's name, its metric, and of what ours are."""
    data = column.partition("_")[0]
    metric = paper.METRICS[data_set(data).task.metric]
    known = [one for v in figures.variants if (one := figures.get(column, v))]
    if not known:
        return f"{_title(column)} ({metric})"
    result = known[0].results[0]
    against = f" of {paper.TRAIN_ROWS[data]:,}" if data in paper.TRAIN_ROWS else ""
    return (
        f"{_title(column)} ({metric}; ours: {result.train_rows:,}{against} training rows, "
        f"{len(known[0].rows):,} of {result.split})"
    )


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
                    "constant_answer": intervals.baseline(one.metric, one.gold),
                    "paper": None if printed is None else round(printed / 100, 4),
                    "seconds": sum(result.seconds for result in one.results),
                }
            )
    return {
        "models": vars(about) | {"paper_parameters": paper.PARAMETERS},
        "lost": list(lost),
        "figures": cells,
    }


def _seed(data: str) -> int:
    """Return the bootstrap's seed: one's own for each data set, the same for all its variants."""
    return crc32(data.encode())


def _title(column: str) -> str:
    return TITLES.get(column, column)


def _pc(value: float) -> str:
    return f"{100 * value:.1f}"


def _shown(found: Interval, more: str = "") -> str:
    return f"{_pc(found.value)} ({_pc(found.low)} to {_pc(found.high)}{more})"


def _printed(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


def _millions(count: int) -> str:
    """Write a number of weights.

    >>> _millions(13_989_120), _millions(40_000)
    ('14.0 M', '0.04 M')
    """
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e6:.2g} M"
