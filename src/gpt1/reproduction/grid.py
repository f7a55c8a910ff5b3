"""Cells: one data set, one way of training, one seed -> figures, each kept as soon as it is known.

A cell is trained with the paper's recipe on a sample of the training rows, without looking at any
held-out row, and its last model is measured on the test rows, or on the dev rows where there is no
labelled test here. What it predicted is kept beside the figures, so tables and intervals can be
made again without training. A grid that was cut off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1 import storage
from gpt1.checkpoint import hub
from gpt1.checkpoint.folder import read_config
from gpt1.config import RunConfig, load_run
from gpt1.errors import CheckpointError, ConfigError, DataError, GPT1Error
from gpt1.pipeline import Predictor, load
from gpt1.reproduction.paper import FULL, LSTM, NO_AUX, NO_PRETRAINING, VARIANTS
from gpt1.tasks.datasets import data_set
from gpt1.tasks.datasets.entry import Rows, sample
from gpt1.tasks.datasets.files import find_split
from gpt1.tasks.leakage import leakage
from gpt1.tasks.metrics import METRICS, Interval, bootstrap
from gpt1.tasks.spec import Example, Task
from gpt1.training import supervised
from gpt1.training.supervised import default_recipe

__all__ = [
    "FULL", "LSTM", "NO_AUX", "NO_PRETRAINING", "VARIANTS",
    "Budget", "Cell", "Grid", "Result", "read_results",
]  # fmt: skip

_RESULT = "result.json"
_TOKENS_A_WORD = 1.35  # with punctuation, pieces and special tokens
_FORWARD = 1 / 3
"""What reading a token costs, against learning from it."""
_SMALLER = {"race": 4}
"""Data sets of which only a part of the rows is taken: a question of RACE is four long texts."""
_SECTIONS = ("task", "optimizer", "schedule", "train")
_NO_MATTER = frozenset(
    (
        "device", "dtype", "micro_batch_size", "save_every", "keep_checkpoints", "eval_every",
        "eval_windows", "log_every", "snapshots", "sample_prompt", "compile", "tensorboard",
    )
)  # fmt: skip
"""Fields of a run's settings that say where it runs and what it writes, not what comes of it."""
_PARTS = {"mnli": ("matched", "mismatched"), "race": ("middle", "high")}
"""The parts that a split's files are read in, one after the other; the paper reports each."""


@dataclass(frozen=True)
class Cell:
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
class Budget:
    """How much is read; None: all of it. RACE takes a quarter of each."""

    train: int | None = 2000
    test: int | None = 1000
    overrides: tuple[str, ...] = ()
    """Settings other than the recipe's, section.field=value."""

    def of(self, data: str, limit: int | None) -> int | None:
        """Return the limit for a data set."""
        return limit if limit is None else max(1, limit // _SMALLER.get(data, 1))


@dataclass(frozen=True)
class Result:
    """What a cell came to."""

    cell: Cell
    split: str
    """The rows that were measured: test, or dev where there is no labelled test."""
    train_rows: int
    gold: NDArray[np.float64] = field(repr=False)
    predicted: NDArray[np.float64] = field(repr=False)
    seconds: float
    settings: dict[str, Any] = field(repr=False)
    train_figures: dict[str, float] = field(default_factory=dict)
    """The metrics on as many of the training rows."""
    parts: dict[str, list[int]] = field(default_factory=dict, repr=False)
    """Which of the measured rows are of a part of the split that the paper reports: matched, ..."""
    leakage: dict[str, int] | None = None
    """exact, overlapping, rows: how many measured rows the training rows hold (tasks.leakage)."""

    def interval(self, metric: str) -> Interval:
        """Return a metric with its 95 % bootstrap interval, over the measured rows."""
        return bootstrap(metric, self.gold, self.predicted)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "split": self.split,
            "train_rows": self.train_rows,
            "seconds": self.seconds,
            "settings": self.settings,
            "cell": asdict(self.cell),
            "gold": self.gold.tolist(),
            "predicted": self.predicted.tolist(),
            "train_figures": self.train_figures,
            "parts": self.parts,
            "leakage": self.leakage,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Result:
        """Return the result whose `to_json` this is. Raises CheckpointError if it is none."""
        try:
            found = cls(
                **{
                    **values,
                    "cell": Cell(**values["cell"]),
                    "gold": np.array(values["gold"], float),
                    "predicted": np.array(values["predicted"], float),
                }
            )
            sound = found.gold.ndim == 1 and found.gold.shape == found.predicted.shape != (0,)
            if not sound or not isinstance(found.settings, dict):
                raise ValueError("its columns do not fit each other")
            if found.leakage is not None:
                counts = [found.leakage[name] for name in ("exact", "overlapping", "rows")]
                if not all(isinstance(count, int) for count in counts):
                    raise ValueError("its leakage is no counts")
        except (TypeError, ValueError, KeyError) as error:
            raise CheckpointError(f"it is no result that gpt1 writes ({error})") from None
        return found


def read_results(out: Path | str) -> list[Result]:
    """Return all finished results in a grid's folder. Raises CheckpointError for a damaged one."""
    cells = Path(out) / "cells"
    if not cells.is_dir():
        return []
    return [_read(place) for place in sorted(cells.iterdir()) if not place.name.startswith(".")]


def _read(place: Path) -> Result:
    """Return the result in a cell's folder. Raises CheckpointError, CorruptError."""
    values = storage.Folder(place).json(_RESULT)
    try:
        return Result.from_json(values)
    except CheckpointError as error:
        raise CheckpointError(
            f"{place / _RESULT} is damaged: {error}. Remove that folder to measure it anew."
        ) from None


class Grid:
    """Cells over one model, and for the LSTM variant another, with results in `out`."""

    def __init__(
        self,
        out: Path | str,
        data: Path | str,
        *,
        model: str,
        lstm: str | None = None,
        budget: Budget | None = None,
        quiet: bool = False,
    ) -> None:
        self.out, self.data = Path(out), data
        self.budget = budget or Budget()
        self._models = {LSTM: lstm}
        self._model, self._quiet = model, quiet
        self.rows = lru_cache(maxsize=2)(self._rows)  # the variants of a data set follow each other
        self._fingerprint = lru_cache(maxsize=None)(self._find_fingerprint)
        self._leakage = lru_cache(maxsize=None)(self._find_leakage)

    def result(self, cell: Cell) -> Result | None:
        """Return a cell's result if it is there. Raises ConfigError if its settings were others."""
        place = self._place(cell)
        if not place.is_dir():
            return None
        found = _read(place)
        settings = self._settings(cell, rows="rows" in found.settings)
        others = _others(found.settings, settings)
        if others:
            theirs, ours = ({n: _at(of, n) for n in others} for of in (found.settings, settings))
            raise ConfigError(
                f"{place} holds a result of other settings ({theirs}, not {ours}). Choose another "
                f"--out, or remove that folder."
            )
        return self.with_parts(found)

    def is_of_another_model(self, result: Result) -> bool:
        """Return whether a result says that it was made with another model than this grid's."""
        name = self.model(result.cell.variant)
        weights = _weights(hub.resolve(name))
        known = result.settings.get("weights")
        if known and weights:
            return bool(known != weights)
        return bool(result.settings.get("model", Path(name).name) != Path(name).name)

    def with_leakage(self, result: Result) -> Result:
        """Return a result of an earlier version with its leakage, if its rows are here."""
        if result.leakage is not None or not Path(self.data).is_dir():
            return result
        try:
            train, test = self.rows(result.cell.data)
        except GPT1Error:
            return result
        same = (result.train_rows, result.split) == (len(train.examples), test.split)
        if not same or not np.array_equal(result.gold, _gold(test.examples)):
            return result
        return replace(result, leakage=self._leakage(result.cell.data))

    def with_parts(self, result: Result) -> Result:
        """Return a result of an earlier version with its parts, if the data tells them."""
        if not result.parts and result.cell.data in _PARTS and Path(self.data).is_dir():
            parts = self.parts(result.cell.data, result.split)
            if sum(map(len, parts.values())) == len(result.gold):
                return replace(result, parts=parts)
        return result

    def run(self, cell: Cell) -> Result:
        """Return a cell's result, training and measuring it unless that is done."""
        run = self.out / "runs" / cell.name
        found = self.result(cell)
        if found is not None:
            shutil.rmtree(run, ignore_errors=True)  # it was cut off just before this
            return found
        train, test = self.rows(cell.data)
        gpt = load(self.model(cell.variant))
        began = time.monotonic()
        model, tokenizer = supervised.finetune(
            gpt.model,
            gpt.tokenizer,
            train.task,
            train.examples,
            [],
            out=run,
            resume=(run / "run.json").is_file(),
            overrides=self._overrides(cell),
            quiet=self._quiet,
            kept=False,
        )
        predictor = Predictor(model, tokenizer, train.task)
        seen = train.examples[: min(200, len(test.examples))]
        predicted, fitted = (
            predictor.decide(predictor.probabilities(part)) for part in (test.examples, seen)
        )
        result = Result(
            cell,
            test.split,
            len(train.examples),
            _gold(test.examples),
            predicted,
            round(time.monotonic() - began, 1),
            self._settings(cell, rows=True),
            {m: METRICS[m](_gold(seen), fitted) for m in data_set(cell.data).metrics},
            self.parts(cell.data, test.split),
            self._leakage(cell.data),
        )
        storage.write_folder(self._place(cell), {_RESULT: storage.json_bytes(result.to_json())})
        shutil.rmtree(run)  # a model for every cell would fill the disk
        return result

    @property
    def has_lstm(self) -> bool:
        """Whether an LSTM was given."""
        return self._models[LSTM] is not None

    def model(self, variant: str) -> str:
        """Return what a variant starts from. Raises ConfigError if there is no LSTM."""
        name = self._models.get(variant, self._model)
        if name is None:
            raise ConfigError(
                "the LSTM column needs a pre-trained LSTM; give its folder with --lstm, or leave "
                "the column out. To make one: gpt1 pretrain SHARDS --size lstm-mini --out RUN"
            )
        return name

    def config(self, cell: Cell) -> RunConfig:
        """Return the settings that a cell is trained with. Raises ConfigError."""
        model = read_config(hub.resolve(self.model(cell.variant)))
        recipe = default_recipe(model)
        config = load_run(recipe=recipe, overrides=self._overrides(cell))
        return config.model_copy(update={"model": model})

    def holds(self, data: str) -> bool:
        """Return whether the data folder has any split of a data set."""
        found = data_set(data)
        return any(find_split(found.files, self.data, s, missing_ok=True) for s in found.splits)

    def tokens(self, cell: Cell) -> int:
        """Return about how many tokens the cell reads, for an estimate of its time.

        Those of every epoch, and a part of those that are only measured.
        """
        train, test = self.rows(cell.data)
        config = self.config(cell)
        window = config.model.n_ctx
        learnt, measured = (
            _words(part.examples, part.task, window / _TOKENS_A_WORD) for part in (train, test)
        )
        seen = learnt * min(1, len(test.examples) / len(train.examples))
        share = config.train.epochs
        if config.train.steps is not None:
            share = config.train.steps * config.train.batch_size / len(train.examples)
        return round(_TOKENS_A_WORD * (learnt * share + _FORWARD * (measured + seen)))

    def parts(self, data: str, split: str) -> dict[str, list[int]]:
        """Return which of a split's measured rows are of which part; empty without parts."""
        names = _PARTS.get(data, ())
        entry = data_set(data)
        if not names or any(f"{split}_{name}" not in entry.splits for name in names):
            return {}
        try:
            counts = [len(entry.load(self.data, f"{split}_{name}").examples) for name in names]
        except DataError:
            return {}
        rows = sample(sum(counts), self.budget.of(data, self.budget.test))
        ends = np.cumsum([0, *counts])
        return {
            name: [i for i, row in enumerate(rows) if start <= row < end]
            for name, start, end in zip(names, ends[:-1], ends[1:], strict=True)
        }

    def _rows(self, data: str) -> tuple[Rows, Rows]:
        """Return the training and the test rows of a data set, within the budget."""
        found = data_set(data)
        train = found.load(self.data, "train", self.budget.of(data, self.budget.train))
        limit = self.budget.of(data, self.budget.test)
        if find_split(found.files, self.data, "test", missing_ok=True):
            test = found.load(self.data, "test", limit)  # raises if it is damaged
            if all(example.label is not None for example in test.examples):
                return train, test
        return train, found.load(self.data, "dev", limit)

    def _find_fingerprint(self, data: str) -> str | None:
        """Return the hash of the rows a cell is trained and measured on; None: not to be had."""
        try:
            train, test = self.rows(data)
        except GPT1Error:
            return None
        rows = [[[e.texts, e.question, e.label] for e in part.examples] for part in (train, test)]
        text = json.dumps([test.split, *rows])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _find_leakage(self, data: str) -> dict[str, int]:
        train, test = self.rows(data)
        found = leakage(train.examples, test.examples, train.task.kind)
        return {"exact": found.exact, "overlapping": found.overlapping, "rows": found.rows}

    def _overrides(self, cell: Cell) -> list[str]:
        layers = {NO_PRETRAINING: -1}.get(cell.variant, cell.layers)
        return [
            f"train.seed={cell.seed}",
            "train.keep_checkpoints=1",
            *(["task.lm_coef=0"] if cell.variant == NO_AUX else []),
            *([f"task.n_transfer={layers}"] if layers is not None else []),
            *self.budget.overrides,
        ]

    def _settings(self, cell: Cell, *, rows: bool) -> dict[str, Any]:
        """Return what makes a result: another value of any of it is another result.

        Without `rows` the data is not read, for results that do not say what theirs were.
        """
        place = hub.resolve(self.model(cell.variant))
        whole = self.config(cell).model_dump(mode="json", include=set(_SECTIONS))
        return {
            "model": Path(self.model(cell.variant)).name,
            "train": self.budget.of(cell.data, self.budget.train),
            "test": self.budget.of(cell.data, self.budget.test),
            "recipe": default_recipe(read_config(place)),
            "overrides": list(self.budget.overrides),
            "weights": _weights(place),
            "config": {
                section: {n: v for n, v in fields.items() if n not in _NO_MATTER}
                for section, fields in whole.items()
            },
            "rows": self._fingerprint(cell.data) if rows else None,
        }

    def _place(self, cell: Cell) -> Path:
        return self.out / "cells" / cell.name


def _others(found: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of settings that are others now, section.field for those of a section.

    Results of earlier versions say less of their settings; rows that are not here any more cannot
    be compared.
    """
    others = []
    for name, value in found.items():
        current = now.get(name)
        if isinstance(value, dict) and isinstance(current, dict):
            others += _others(value, current, f"{prefix}{name}.")
        elif value != current and not (f"{prefix}{name}" == "rows" and current is None):
            others.append(f"{prefix}{name}")
    return others


def _at(settings: Mapping[str, Any], path: str) -> Any:
    value: Any = settings
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _gold(examples: Sequence[Example]) -> NDArray[np.float64]:
    return np.array([example.label for example in examples], float)


def _weights(place: Path) -> str | None:
    """Return the hash of a model's weights, where its folder has one."""
    held = storage.Folder(place)
    names = [n for n in held.names() if n.endswith(".safetensors")] if held.verified else []
    return " ".join(held.sha256(name)[:16] for name in names) or None


def _words(examples: Iterable[Example], task: Task, window: float) -> float:
    """Return about how many words the examples' sequences have, none longer than `window`."""
    words = 0.0
    for example in examples:
        first, *others = [len(text.split()) for text in example.texts]
        if task.kind == "choice":
            first += len(example.question.split())
            words += sum(min(window, first + other) for other in others)
        else:
            words += task.sequences * min(window, first + sum(others))
    return words
