"""Cells: one data set, one way of training, one seed -> figures, each kept as soon as it is known.

A cell is trained with the paper's recipe on a sample of the training rows, without looking at any
held-out row, and its last model is measured on the test rows, or on the dev rows where there is no
labelled test here. What it predicted is kept beside the figures, so tables and intervals can be
made again without training. A grid that was cut off goes on where it was.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1 import storage
from gpt1.checkpoint import hub
from gpt1.checkpoint.folder import read_config
from gpt1.config import load_run
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation.metrics import METRICS, Interval, bootstrap
from gpt1.pipeline import Predictor, load
from gpt1.tasks.datasets import data_set
from gpt1.tasks.datasets.entry import Rows
from gpt1.tasks.spec import Example
from gpt1.training import supervised
from gpt1.training.supervised import default_recipe

FULL, NO_AUX, NO_PRETRAINING, LSTM = "full", "no auxiliary LM", "no pre-training", "LSTM"
VARIANTS = (FULL, NO_PRETRAINING, NO_AUX, LSTM)
_RESULT = "result.json"
_RECIPE = "supervised"
_TOKENS_A_WORD = 1.35  # with punctuation, pieces and special tokens
_SMALLER = {"race": 4}
"""Data sets of which only a part of the rows is taken: a question of RACE is four long texts."""


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

    def interval(self, metric: str) -> Interval:
        """Return a metric with its 95 % bootstrap interval, over the measured rows."""
        return bootstrap(METRICS[metric], self.gold, self.predicted)

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
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Result:
        """Return the result whose `to_json` this is."""
        return cls(
            **{
                **values,
                "cell": Cell(**values["cell"]),
                "gold": np.array(values["gold"], float),
                "predicted": np.array(values["predicted"], float),
            }
        )


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

    def result(self, cell: Cell) -> Result | None:
        """Return a cell's result if it is there. Raises ConfigError if its settings were others."""
        place = self.out / "cells" / cell.name
        if not place.is_dir():
            return None
        found = Result.from_json(storage.Folder(place).json(_RESULT))
        if found.settings != self._settings(cell):
            raise ConfigError(
                f"{place} holds a result of other settings ({found.settings}, not "
                f"{self._settings(cell)}). Choose another --out, or remove that folder."
            )
        return found

    def run(self, cell: Cell) -> Result:
        """Return a cell's result, training and measuring it unless that is done."""
        found = self.result(cell)
        if found is not None:
            return found
        train, test = self.rows(cell.data)
        gpt = load(self._name(cell))
        run = self.out / "runs" / cell.name
        began = time.monotonic()
        model, tokenizer = supervised.finetune(
            gpt.model,
            gpt.tokenizer,
            train.task,
            train.examples,
            [],
            metric=METRICS[train.task.metric],
            out=run,
            resume=(run / "run.json").is_file(),
            overrides=self._overrides(cell),
            quiet=self._quiet,
        )
        predictor = Predictor(model, tokenizer, train.task)
        seen = train.examples[: len(test.examples)]
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
            self._settings(cell),
            {m: METRICS[m](_gold(seen), fitted) for m in data_set(cell.data).metrics},
        )
        place = self.out / "cells" / cell.name
        storage.write_folder(place, {_RESULT: storage.json_bytes(result.to_json())})
        shutil.rmtree(run)  # a model for every cell would fill the disk
        return result

    def tokens(self, cell: Cell) -> int:
        """Return about how many tokens the cell reads in training, for an estimate of its time."""
        train, _ = self.rows(cell.data)
        sample = train.examples[:200]
        words = sum(
            len(text.split()) * (1 if i else train.task.sequences if train.task.answers else 1)
            for example in sample
            for i, text in enumerate((f"{example.texts[0]} {example.question}", *example.texts[1:]))
        )
        if train.task.kind in ("similarity", "regression"):
            words *= 2
        config = load_run(recipe=_RECIPE, overrides=self._overrides(cell))
        share = len(train.examples) / max(1, len(sample))
        return round(words * _TOKENS_A_WORD * share * config.train.epochs)

    def _rows(self, data: str) -> tuple[Rows, Rows]:
        """Return the training and the test rows of a data set, within the budget."""
        found = data_set(data)
        train = found.load(self.data, "train", self.budget.of(data, self.budget.train))
        limit = self.budget.of(data, self.budget.test)
        for split in ("test", "dev"):
            try:
                test = found.load(self.data, split, limit)
            except (ConfigError, DataError):
                if split == "dev":
                    raise
                continue
            if all(example.label is not None for example in test.examples):
                break
        return train, test

    def _name(self, cell: Cell) -> str:
        name = self._models.get(cell.variant, self._model)
        if name is None:
            raise ConfigError(
                "the LSTM column needs a pre-trained LSTM; give its folder with --lstm, or leave "
                "the column out. To make one: gpt1 pretrain SHARDS --size lstm-mini --out RUN"
            )
        return name

    def _overrides(self, cell: Cell) -> list[str]:
        layers = {NO_PRETRAINING: -1}.get(cell.variant, cell.layers)
        return [
            f"train.seed={cell.seed}",
            "train.keep_checkpoints=1",
            *(["task.lm_coef=0"] if cell.variant == NO_AUX else []),
            *([f"task.n_transfer={layers}"] if layers is not None else []),
            *self.budget.overrides,
        ]

    def _settings(self, cell: Cell) -> dict[str, Any]:
        """Return what makes a result: another value of any of it is another result."""
        return {
            "model": Path(self._name(cell)).name,
            "train": self.budget.of(cell.data, self.budget.train),
            "test": self.budget.of(cell.data, self.budget.test),
            "recipe": default_recipe(read_config(hub.resolve(self._name(cell)))),
            "overrides": list(self.budget.overrides),
        }


def _gold(examples: Sequence[Example]) -> NDArray[np.float64]:
    return np.array([example.label for example in examples], float)
