"""Results: one file for each experiment, and the seeds of a variant put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from gpt1 import storage
from gpt1.config import Settings
from gpt1.errors import CheckpointError
from gpt1.evaluation.baselines import MAJORITY
from gpt1.reports.formatting import format_interval, format_percent
from gpt1.reproduction.paper import FULL, FURTHER, SETS, VARIANTS, figure
from gpt1.tasks.bootstrap import Interval, mean_metric, resample
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import METRICS, f1

RESULTS = "experiments"
"""The folder of results in a sweep's folder."""
_RESULT = "result.json"


@dataclass(frozen=True)
class Experiment:
    """What is trained and measured; `layers` is how many blocks are transferred, None being all."""

    data: str
    variant: str = FULL
    seed: int = 0
    layers: int | None = None

    @property
    def name(self) -> str:
        """The name of the folder with its result."""
        layers = "" if self.layers is None else f"-{self.layers}-layers"
        return f"{self.data}-{self.variant.replace(' ', '-').lower()}{layers}-seed-{self.seed}"


class ExperimentResult(Settings):
    """The result of an experiment.

    model: what was fine-tuned. split: the measured rows, test, or dev if no test set has labels.
    settings: everything the result depends on. train_metrics: on as many training rows. parts: the
    measured rows of each part that the paper reports, e.g. matched. leakage: how many of the
    measured `rows` the training rows hold: `exact`, `overlapping`; shared_texts: how many have a
    text, by its name, that a training row has. baselines: what simple ways predict, learned from
    the same rows.
    """

    experiment: Experiment
    model: str
    parameters: int
    split: str
    train_rows: int
    gold: list[float] = Field(min_length=1, repr=False)
    predicted: list[float] = Field(min_length=1, repr=False)
    seconds: float
    settings: dict[str, Any]
    train_metrics: dict[str, float]
    parts: dict[str, list[int]]
    leakage: dict[str, int]
    shared_texts: dict[str, int] = Field(default={})
    baselines: dict[str, list[float]] = Field(default={}, repr=False)

    def write(self, folder: Path) -> None:
        """Write the result into a new folder."""
        storage.write_folder(folder, {_RESULT: storage.json_bytes(self.model_dump())})

    @classmethod
    def read(cls, folder: Path) -> ExperimentResult:
        """Return the result in a folder. Raises CheckpointError, CorruptError."""
        try:
            return cls.model_validate(storage.Folder(folder).json(_RESULT))
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, e["loc"])) for e in error.errors()[:3])
            raise CheckpointError(
                f"{folder / _RESULT} is damaged ({wrong}). Remove that folder to measure again."
            ) from None


def read_results(out: Path | str) -> list[ExperimentResult]:
    """Return all finished results of a sweep. Raises CheckpointError for a damaged one."""
    folders = sorted((Path(out) / RESULTS).glob("[!.]*"))
    return [ExperimentResult.read(folder) for folder in folders]


class Measurement:
    """The results of a variant on a data set, or on a part of one, of all seeds together.

    name: the data set or the part, as in paper.TITLES. gold: the right answers (n,). predictions:
    those of each seed (n,). baselines: the metric of simple ways to predict on the same rows.
    bootstrap_seed: the same for all variants, so that rows are paired.
    """

    def __init__(self, results: Sequence[ExperimentResult], part: str = "") -> None:
        first = results[0]
        self.results, self.split, self.train_rows = results, first.split, first.train_rows
        self.data, self.variant = first.experiment.data, first.experiment.variant
        self.name = f"{self.data}_{part}" if part else self.data
        self.model = f"{first.model}, {first.parameters / 1e6:.1f} M"
        self.metric = data_set(self.data).task.metric
        rows = first.parts[part] if part else range(len(first.gold))
        self.gold = np.array(first.gold)[rows]
        self.predictions = {r.experiment.seed: np.array(r.predicted)[rows] for r in results}
        self.bootstrap_seed = crc32(self.data.encode())
        metric = METRICS[self.metric]
        self.baselines = {MAJORITY: self.constant} | {
            name: metric(self.gold, np.array(predicted)[rows])
            for name, predicted in first.baselines.items()
        }

    @property
    def seeds(self) -> dict[int, float]:
        """The metric of each seed."""
        metric = METRICS[self.metric]
        return {seed: metric(self.gold, p) for seed, p in self.predictions.items()}

    @property
    def on_training_rows(self) -> float:
        """The metric on training rows, the mean of all seeds."""
        return float(np.mean([result.train_metrics[self.metric] for result in self.results]))

    @property
    def constant(self) -> float:
        """The metric of the most frequent answer; for F1 of the answer 1, for correlations 0."""
        if self.metric == "accuracy":
            return float(np.unique(self.gold, return_counts=True)[1].max() / len(self.gold))
        return f1(self.gold, np.ones_like(self.gold)) if self.metric == "f1" else 0.0

    def interval(self, metric: str) -> Interval:
        """Return a metric, the mean of all seeds, with its bootstrap interval."""
        value = mean_metric(metric, self.gold, list(self.predictions.values()))
        return Interval.of(value, self.resample(metric))

    def resample(self, metric: str) -> NDArray[np.float64]:
        """Return a metric, the mean of all seeds, on sets of resampled rows."""
        predictions = list(self.predictions.values())
        return resample(metric, self.gold, predictions, seed=self.bootstrap_seed)

    def to_json(self) -> dict[str, Any]:
        """Return all figures as JSON values; shares, not percent."""
        first, printed = self.results[0], figure(self.name, self.variant)
        return {
            "data": self.name,
            "variant": self.variant,
            "model": first.model,
            "parameters": first.parameters,
            "split": self.split,
            "train_rows": self.train_rows,
            "rows": len(self.gold),
            "metrics": {n: asdict(self.interval(n)) for n in data_set(self.data).metrics},
            "seeds": {str(seed): value for seed, value in self.seeds.items()},
            "train_metrics": first.train_metrics,
            "leakage": first.leakage,
            "shared_texts": first.shared_texts,
            "constant_answer": self.constant,
            "baselines": self.baselines,
            "paper": None if printed is None else round(printed / 100, 4),
            "seconds": sum(result.seconds for result in self.results),
        }

    def __str__(self) -> str:
        """Return value (interval), and the seeds' range if there are several."""
        values = self.seeds.values()
        low, high = format_percent(min(values)), format_percent(max(values))
        seeds = f"; {len(values)} seeds {low} to {high}" if len(values) > 1 else ""
        return format_interval(**vars(self.interval(self.metric)), more=seeds)


class Measurements:
    """All results of whole models, by data set and variant."""

    def __init__(self, results: Iterable[ExperimentResult]) -> None:
        groups: dict[tuple[str, str], list[ExperimentResult]] = {}
        for result in sorted(results, key=lambda result: result.experiment.seed):
            experiment = result.experiment
            if experiment.layers is None:
                groups.setdefault((experiment.data, experiment.variant), []).append(result)
        self.all = {key: Measurement(group) for key, group in groups.items()}
        # in the paper's order
        self.variants = [v for v in VARIANTS if any(variant == v for _, variant in self.all)]
        self.sets = [d for d in (*SETS, *FURTHER) if any(data == d for data, _ in self.all)]
        self.models = {variant: measured for (_, variant), measured in self.all.items()}

    def get(self, column: str, variant: str = FULL) -> Measurement | None:
        """Return the results on a data set, or on a part such as mnli_matched; None without any."""
        data, _, part = column.partition("_")
        whole = self.all.get((data, variant))
        if whole is None or not part:
            return whole
        return next((m for m in self.parts(whole) if m.name == column), None)

    def parts(self, whole: Measurement) -> list[Measurement]:
        """Return the results on the parts that every seed has."""
        sets = ({name for name, rows in r.parts.items() if rows} for r in whole.results)
        return [Measurement(whole.results, name) for name in sorted(set.intersection(*sets))]
