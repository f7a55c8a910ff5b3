"""Results: one of each experiment, on disk, and the seeds of a variant put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gpt1 import storage
from gpt1.errors import CheckpointError
from gpt1.reproduction.paper import FULL, FURTHER, LSTM, SETS, TITLES, VARIANTS
from gpt1.tasks import metrics
from gpt1.tasks.bootstrap import Interval, mean_metric, resample
from gpt1.tasks.datasets import data_set

RESULTS = "experiments"
"""The folder of results in a sweep's folder."""
_RESULT = "result.json"


@dataclass(frozen=True)
class Experiment:
    """What is trained and measured; `layers` is how many blocks are transferred, None: all."""

    data: str
    variant: str = FULL
    seed: int = 0
    layers: int | None = None

    @property
    def name(self) -> str:
        """The folder of its result."""
        layers = "" if self.layers is None else f"-{self.layers}-layers"
        return f"{self.data}-{self.variant.replace(' ', '-').lower()}{layers}-seed-{self.seed}"


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment came to.

    split: the measured rows: test, or dev where there is no labelled test set. train_metrics: on
    as many of the training rows. parts: which measured rows belong to a part that the paper
    reports, e.g. matched. leakage: how many measured rows the training rows
    hold as a whole (exact), or share a run of words with (overlapping), of how many (rows).
    """

    experiment: Experiment
    split: str
    train_rows: int
    gold: NDArray[np.float64] = field(repr=False)
    predicted: NDArray[np.float64] = field(repr=False)
    seconds: float
    settings: dict[str, Any] = field(repr=False)
    train_metrics: dict[str, float]
    parts: dict[str, list[int]] = field(repr=False)
    leakage: dict[str, int]

    def write(self, folder: Path) -> None:
        """Write the result into a new folder."""
        columns = {"gold": self.gold.tolist(), "predicted": self.predicted.tolist()}
        storage.write_folder(folder, {_RESULT: storage.json_bytes(asdict(self) | columns)})

    @classmethod
    def read(cls, folder: Path) -> ExperimentResult:
        """Return the result in a folder. Raises CheckpointError, CorruptError."""
        values = storage.Folder(folder).json(_RESULT)
        try:
            columns = {name: np.array(values[name], float) for name in ("gold", "predicted")}
            experiment = Experiment(**values["experiment"])
            result = cls(**{**values, **columns, "experiment": experiment})
            shape = result.gold.shape
            if len(shape) != 1 or shape == (0,) or shape != result.predicted.shape:
                raise ValueError("its columns do not fit each other")
            for name in ("settings", "train_metrics", "parts", "leakage"):
                if not isinstance(getattr(result, name), dict):
                    raise ValueError(f"{name} is no object")
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"{folder / _RESULT} is damaged: gpt1 writes no such result ({error}). Remove that "
                f"folder to measure it anew."
            ) from None
        return result


def read_results(out: Path | str) -> list[ExperimentResult]:
    """Return all finished results of a sweep. Raises CheckpointError for a damaged one."""
    folder = Path(out) / RESULTS
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    return [ExperimentResult.read(folder / name) for name in names]


@dataclass(frozen=True)
class Models:
    """The models that were fine-tuned: their names, and how many weights they have."""

    model: str
    parameters: int
    lstm: str = ""
    lstm_parameters: int = 0

    def describe(self, variant: str) -> str:
        """Return the name and the size of a variant's model."""
        if variant == LSTM:
            return f"{self.lstm}, {_millions(self.lstm_parameters)}"
        return f"{self.model}, {_millions(self.parameters)}"


@dataclass(frozen=True)
class Measurement:
    """What a variant reaches on a data set, or on a part of one; all seeds together."""

    data: str
    variant: str
    results: tuple[ExperimentResult, ...]
    part: str = ""

    @property
    def name(self) -> str:
        """The data set, or the part of it, as in paper.TITLES."""
        return f"{self.data}_{self.part}" if self.part else self.data

    @property
    def metric(self) -> str:
        """The paper's metric for the data set."""
        return data_set(self.data).task.metric

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The indices of the measured rows."""
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
        """The predictions of each seed."""
        return [result.predicted[self.rows] for result in self.results]

    @property
    def bootstrap_seed(self) -> int:
        """A seed of each data set's own, the same for all variants, so that rows are paired."""
        return crc32(self.data.encode())

    @cached_property
    def seeds(self) -> dict[int, float]:
        """The metric of each seed."""
        return {
            result.experiment.seed: metrics.METRICS[self.metric](self.gold, predicted)
            for result, predicted in zip(self.results, self.predictions, strict=True)
        }

    @property
    def split(self) -> str:
        """The split of the measured rows."""
        return self.results[0].split

    @property
    def train_rows(self) -> int:
        """The number of training rows."""
        return self.results[0].train_rows

    @property
    def on_training_rows(self) -> float:
        """The seeds' mean on training rows."""
        return float(np.mean([result.train_metrics[self.metric] for result in self.results]))

    @property
    def constant(self) -> float:
        """What a constant answer reaches."""
        return baseline(self.metric, self.gold)

    def interval(self, metric: str | None = None) -> Interval:
        """Return the seeds' mean with its bootstrap interval."""
        metric = metric or self.metric
        value = mean_metric(metric, self.gold, self.predictions)
        return Interval.of(value, self.resample(metric))

    def resample(self, metric: str) -> NDArray[np.float64]:
        """Return the seeds' mean on sets of resampled rows."""
        return resample(metric, self.gold, self.predictions, seed=self.bootstrap_seed)

    def __str__(self) -> str:
        """Return value (interval), and the seeds' range if there are several."""
        seeds = ""
        if len(self.results) > 1:
            values = self.seeds.values()
            seeds = f"; {len(values)} seeds {percent(min(values))} to {percent(max(values))}"
        return format_interval(self.interval(), seeds)


class Measurements:
    """All results of whole models, by data set and variant."""

    def __init__(self, results: Iterable[ExperimentResult]) -> None:
        seeds: dict[tuple[str, str], list[ExperimentResult]] = {}
        for result in sorted(results, key=lambda result: result.experiment.seed):
            experiment = result.experiment
            if experiment.layers is None:
                seeds.setdefault((experiment.data, experiment.variant), []).append(result)
        self.all = {key: Measurement(*key, tuple(group)) for key, group in seeds.items()}

    @property
    def variants(self) -> list[str]:
        """The variants that were measured, in the paper's order."""
        return [v for v in VARIANTS if any(variant == v for _, variant in self.all)]

    @property
    def sets(self) -> list[str]:
        """The data sets that were measured, in the paper's order."""
        return [d for d in (*SETS, *FURTHER) if any(data == d for data, _ in self.all)]

    def get(self, column: str, variant: str = FULL) -> Measurement | None:
        """Return what there is of a data set, or of a part such as mnli_matched."""
        data, _, part = column.partition("_")
        whole = self.all.get((data, variant))
        if whole is None or not part:
            return whole
        if not all(result.parts.get(part) for result in whole.results):
            return None
        return Measurement(data, variant, whole.results, part)


def baseline(metric: str, gold: NDArray[np.float64]) -> float:
    """Return what the most frequent answer reaches; the constant answer 1 for F1, 0 correlations.

    >>> baseline("accuracy", np.array([0.0, 1, 1])), round(baseline("f1", np.array([0.0, 1])), 3)
    (0.6666666666666666, 0.667)
    """
    if metric == "accuracy":
        return float(np.unique(gold, return_counts=True)[1].max() / len(gold))
    if metric == "f1":
        return metrics.f1(gold, np.ones_like(gold))
    return 0.0


def title_of(column: str) -> str:
    """Return the paper's name for a data set or a part of one."""
    return TITLES.get(column, column)


def percent(value: float) -> str:
    """Return a share in percent, with one decimal."""
    return f"{100 * value:.1f}"


def format_interval(interval: Interval, more: str = "") -> str:
    """Return a value in percent with its interval, and `more` within the brackets."""
    low, high = percent(interval.low), percent(interval.high)
    return f"{percent(interval.value)} ({low} to {high}{more})"


def _millions(count: int) -> str:
    """Return a number of weights for people.

    >>> _millions(13_989_120), _millions(40_000)
    ('14.0 M', '0.04 M')
    """
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e6:.2g} M"
