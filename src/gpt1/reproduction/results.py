"""Results: one of each experiment, on disk, and the seeds of a variant put together."""

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
from gpt1.reproduction.paper import FULL, FURTHER, SETS, VARIANTS, figure
from gpt1.tasks.bootstrap import Interval, mean_metric, resample
from gpt1.tasks.datasets import data_set
from gpt1.tasks.metrics import METRICS, f1

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


class ExperimentResult(Settings):
    """What an experiment came to."""

    experiment: Experiment
    model: str
    """What it was fine-tuned from."""
    parameters: int
    split: str
    """The measured rows: test, or dev where there is no labelled test set."""
    train_rows: int
    gold: list[float] = Field(min_length=1, repr=False)
    predicted: list[float] = Field(min_length=1, repr=False)
    seconds: float
    settings: dict[str, Any]
    """What makes the result: another value of any of it is another result."""
    train_metrics: dict[str, float]
    """On as many of the training rows."""
    parts: dict[str, list[int]]
    """Which measured rows belong to a part that the paper reports, e.g. matched."""
    leakage: dict[str, int]
    """How many of so many measured `rows` the training rows hold: `exact`, `overlapping`."""

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
                f"{folder / _RESULT} is damaged: gpt1 writes no such result ({wrong}). Remove that "
                f"folder to measure it anew."
            ) from None


def read_results(out: Path | str) -> list[ExperimentResult]:
    """Return all finished results of a sweep. Raises CheckpointError for a damaged one."""
    folders = sorted((Path(out) / RESULTS).glob("[!.]*"))
    return [ExperimentResult.read(folder) for folder in folders]


class Measurement:
    """What a variant reaches on a data set, or on a part of one; all seeds together.

    name: the data set, or the part of it, as in paper.TITLES. model: its name and size. gold: the
    right answers, (n,). predictions: by seed, each (n,). bootstrap_seed: one for each data set, the
    same for all variants, so that rows are paired.
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

    @property
    def seeds(self) -> dict[int, float]:
        """The metric of each seed."""
        metric = METRICS[self.metric]
        return {seed: metric(self.gold, found) for seed, found in self.predictions.items()}

    @property
    def on_training_rows(self) -> float:
        """The seeds' mean on training rows."""
        return float(np.mean([result.train_metrics[self.metric] for result in self.results]))

    @property
    def constant(self) -> float:
        """What the most frequent answer reaches; the answer 1 for F1, and 0 for correlations."""
        if self.metric == "accuracy":
            return float(np.unique(self.gold, return_counts=True)[1].max() / len(self.gold))
        return f1(self.gold, np.ones_like(self.gold)) if self.metric == "f1" else 0.0

    def interval(self, metric: str = "") -> Interval:
        """Return the seeds' mean with its bootstrap interval."""
        metric = metric or self.metric
        value = mean_metric(metric, self.gold, [*self.predictions.values()])
        return Interval.of(value, self.resample(metric))

    def resample(self, metric: str) -> NDArray[np.float64]:
        """Return the seeds' mean on sets of resampled rows."""
        predictions = [*self.predictions.values()]
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
            "constant_answer": self.constant,
            "paper": None if printed is None else round(printed / 100, 4),
            "seconds": sum(result.seconds for result in self.results),
        }

    def __str__(self) -> str:
        """Return value (interval), and the seeds' range if there are several."""
        values = self.seeds.values()
        seeds = f"; {len(values)} seeds {percent(min(values))} to {percent(max(values))}"
        return format_interval(self.interval(), seeds if len(values) > 1 else "")


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
        """Return what there is of a data set, or of a part such as mnli_matched."""
        data, _, part = column.partition("_")
        whole = self.all.get((data, variant))
        if whole is None or not part:
            return whole
        missing = any(not result.parts.get(part) for result in whole.results)
        return None if missing else Measurement(whole.results, part)


def percent(value: float) -> str:
    """Return a share in percent, with one decimal."""
    return f"{100 * value:.1f}"


def format_interval(interval: Interval, more: str = "") -> str:
    """Return a value in percent with its interval, and `more` within the brackets."""
    low, high = percent(interval.low), percent(interval.high)
    return f"{percent(interval.value)} ({low} to {high}{more})"
