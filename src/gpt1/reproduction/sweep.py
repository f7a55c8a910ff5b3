"""Experiments: one data set, one way of training, one seed -> a result, kept once it is known.

Each is trained with the paper's recipe on a sample of the training rows, without looking at any
held-out row, and its last model is measured on the test rows, or on the dev rows where there is no
labelled test set. The predictions are kept beside the metrics, so that tables and intervals can be
made again without training. A sweep that was cut off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1 import storage
from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint import hub
from gpt1.checkpoint.folder import read_config
from gpt1.config import RunConfig, load_run
from gpt1.errors import ConfigError, DataError, GPT1Error
from gpt1.pipeline import load
from gpt1.reproduction.paper import LSTM, NO_AUX, NO_PRETRAINING
from gpt1.reproduction.results import RESULTS, Experiment, ExperimentResult
from gpt1.tasks.datasets import data_set
from gpt1.tasks.datasets.entry import Rows, sample
from gpt1.tasks.datasets.files import find_split
from gpt1.tasks.kinds import Task
from gpt1.tasks.leakage import leakage
from gpt1.tasks.metrics import METRICS
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.training import supervised
from gpt1.training.run import RunOptions
from gpt1.training.supervised import default_recipe

_TOKENS_A_WORD = 1.35  # with punctuation, pieces and special tokens
_FORWARD = 1 / 3
"""What reading a token costs, against learning from it."""
_SHARES = {"race": 4}
"""Data sets of which only a part of the rows is taken: a question of RACE is four long texts."""
_SECTIONS = {"task", "optimizer", "schedule", "train", "data"}
_IGNORED = frozenset(
    (
        "device", "dtype", "micro_batch_size", "save_every", "keep_checkpoints", "eval_every",
        "eval_windows", "log_every", "snapshots", "sample_prompt", "compile", "tensorboard",
    )
)  # fmt: skip
"""Settings that say where a run takes place and what it writes, not what comes of it."""
_PARTS = {"mnli": ("matched", "mismatched"), "race": ("middle", "high")}
"""The parts that a split's files are read in, one after the other; the paper reports each."""


@dataclass(frozen=True)
class Budget:
    """How many rows are read; None: all of them. RACE takes a quarter of each.

    overrides: settings other than the recipe's, as section.field=value.
    """

    train: int | None = 2000
    test: int | None = 1000
    overrides: tuple[str, ...] = ()

    def of(self, data: str, limit: int | None) -> int | None:
        """Return the limit for a data set."""
        return limit if limit is None else max(1, limit // _SHARES.get(data, 1))


@dataclass(frozen=True)
class Split:
    """The training rows and the measured rows of a data set, within a budget."""

    train: Rows
    test: Rows

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all rows."""
        rows = [
            [[e.texts, e.question, e.label] for e in part.examples]
            for part in (self.train, self.test)
        ]
        text = json.dumps([self.test.split, *rows])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @cached_property
    def leakage(self) -> dict[str, int]:
        """How many measured rows the training rows hold: exact, overlapping, of so many rows."""
        counts = leakage(self.train.examples, self.test.examples, self.train.task.kind)
        return {"exact": counts.exact, "overlapping": counts.overlapping, "rows": counts.rows}


class Sweep:
    """Experiments with one model, and with another for the LSTM variant; results are in `out`."""

    def __init__(
        self,
        out: Path | str,
        data: Path | str,
        *,
        model: str,
        lstm: str | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.out, self.data = Path(out), data
        self.budget = budget or Budget()
        self.lstm = lstm
        self._model = model
        self.rows = lru_cache(maxsize=2)(self._rows)  # the variants of a data set follow each other
        self._fingerprint = lru_cache(maxsize=None)(self._find_fingerprint)

    def result(self, experiment: Experiment) -> ExperimentResult | None:
        """Return a finished result. Raises ConfigError if it was made with other settings."""
        folder = self._folder(experiment)
        if not folder.is_dir():
            return None
        result = ExperimentResult.read(folder)
        theirs, ours = _flatten(result.settings), _flatten(self._settings(experiment))
        if ours["rows"] is None:  # the data is not here any more: nothing to compare with
            ours["rows"] = theirs.get("rows")
        others = sorted(n for n in theirs.keys() | ours if theirs.get(n) != ours.get(n))
        if others:
            pair = [{name: of.get(name) for name in others} for of in (theirs, ours)]
            raise ConfigError(
                f"{folder} holds a result of other settings ({pair[0]}, not {pair[1]}). Choose "
                f"another --out, or remove that folder."
            )
        return result

    def made_with_another_model(self, result: ExperimentResult) -> bool:
        """Return whether a result says that it was made with another model than this sweep's."""
        name = self.model(result.experiment.variant)
        ours, theirs = _weights(hub.resolve(name)), result.settings.get("weights")
        if ours and theirs:
            return bool(ours != theirs)
        return bool(result.settings.get("model") != Path(name).name)

    def run(
        self, experiment: Experiment, progress: ProgressCallback | None = None
    ) -> ExperimentResult:
        """Train an experiment's model, on from where it was cut off; measure and keep it.

        `progress` counts updates.
        """
        split = self.rows(experiment.data)
        train, test = split.train, split.test
        run = self.run_folder(experiment)
        gpt = load(self.model(experiment.variant))
        began = time.monotonic()
        model, tokenizer = supervised.finetune(
            gpt.model,
            gpt.tokenizer,
            train.task,
            train.examples,
            [],
            load_run(recipe=default_recipe(gpt.config), overrides=self._overrides(experiment)),
            RunOptions(
                run,
                resume=(run / "run.json").is_file(),
                quiet=True,
                report=False,
                progress=progress,
            ),
        )
        predictor = Predictor(model, tokenizer, train.task)
        learnt = train.examples[: min(200, len(test.examples))]
        predicted, fitted = (
            predictor.decide(predictor.probabilities(part)) for part in (test.examples, learnt)
        )
        names = data_set(experiment.data).metrics
        result = ExperimentResult(
            experiment,
            split=test.split,
            train_rows=len(train.examples),
            gold=_labels(test.examples),
            predicted=predicted,
            seconds=round(time.monotonic() - began, 1),
            settings=self._settings(experiment),
            train_metrics={name: METRICS[name](_labels(learnt), fitted) for name in names},
            parts=self.parts(experiment.data, test.split),
            leakage=split.leakage,
        )
        result.write(self._folder(experiment))
        self.tidy(experiment)
        return result

    def run_folder(self, experiment: Experiment) -> Path:
        """Return the folder of an experiment's training, which is removed once it is measured."""
        return self.out / "runs" / experiment.name

    def tidy(self, experiment: Experiment) -> None:
        """Remove the training of a finished experiment: all models would fill the disk."""
        shutil.rmtree(self.run_folder(experiment), ignore_errors=True)

    def model(self, variant: str) -> str:
        """Return what a variant starts from. Raises ConfigError if there is no LSTM."""
        if variant != LSTM:
            return self._model
        if self.lstm is None:
            raise ConfigError(
                "the LSTM column needs a pre-trained LSTM; give its folder with --lstm, or leave "
                "the column out. To make one: gpt1 pretrain SHARDS --size lstm-mini --out RUN"
            )
        return self.lstm

    def config(self, experiment: Experiment) -> RunConfig:
        """Return the settings that an experiment is trained with. Raises ConfigError."""
        model = read_config(hub.resolve(self.model(experiment.variant)))
        config = load_run(recipe=default_recipe(model), overrides=self._overrides(experiment))
        return config.model_copy(update={"model": model})

    def holds(self, data: str) -> bool:
        """Return whether the data folder has any split of a data set."""
        entry = data_set(data)
        return any(find_split(entry.files, self.data, s, missing_ok=True) for s in entry.splits)

    def tokens(self, experiment: Experiment) -> int:
        """Return about how many tokens an experiment reads, for an estimate of its time.

        Those of every epoch, and a part of those that are only measured.
        """
        split, config = self.rows(experiment.data), self.config(experiment)
        train, test = split.train.examples, split.test.examples
        window = config.model.n_ctx / _TOKENS_A_WORD
        learnt, measured = (_words(part, split.train.task, window) for part in (train, test))
        measured += learnt * min(1, len(test) / len(train))
        epochs = config.train.epochs
        if config.train.steps is not None:
            epochs = config.train.steps * config.train.batch_size / len(train)
        return round(_TOKENS_A_WORD * (learnt * epochs + _FORWARD * measured))

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

    def _rows(self, data: str) -> Split:
        """Return the training and the measured rows of a data set, within the budget."""
        entry = data_set(data)
        train = entry.load(self.data, "train", self.budget.of(data, self.budget.train))
        limit = self.budget.of(data, self.budget.test)
        if find_split(entry.files, self.data, "test", missing_ok=True):
            test = entry.load(self.data, "test", limit)  # raises if it is damaged
            if all(example.label is not None for example in test.examples):
                return Split(train, test)
        return Split(train, entry.load(self.data, "dev", limit))

    def _find_fingerprint(self, data: str) -> str | None:
        """Return the hash of a data set's rows, or None if it cannot be read."""
        try:
            return self.rows(data).fingerprint
        except GPT1Error:
            return None

    def _overrides(self, experiment: Experiment) -> list[str]:
        layers = -1 if experiment.variant == NO_PRETRAINING else experiment.layers
        return [
            f"train.seed={experiment.seed}",
            "train.keep_checkpoints=1",
            *(["task.lm_coef=0"] if experiment.variant == NO_AUX else []),
            *([f"task.n_transfer={layers}"] if layers is not None else []),
            *self.budget.overrides,
        ]

    def _settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return what makes a result: another value of any of it is another result."""
        data, model = experiment.data, self.model(experiment.variant)
        config = self.config(experiment).model_dump(mode="json", include=_SECTIONS)
        return {
            "model": Path(model).name,
            "weights": _weights(hub.resolve(model)),
            "train": self.budget.of(data, self.budget.train),
            "test": self.budget.of(data, self.budget.test),
            "rows": self._fingerprint(data),
            "config": {
                section: {n: v for n, v in fields.items() if n not in _IGNORED}
                for section, fields in config.items()
            },
        }

    def _folder(self, experiment: Experiment) -> Path:
        return self.out / RESULTS / experiment.name


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the settings of all sections by their dotted names.

    >>> _flatten({"rows": 1, "config": {"train": {"seed": 2}}})
    {'rows': 1, 'config.train.seed': 2}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _labels(examples: Sequence[Example]) -> NDArray[np.float64]:
    return np.array([example.label for example in examples], float)


def _weights(path: Path) -> str | None:
    """Return the hash of a model's weights, where its folder has one."""
    folder = storage.Folder(path)
    names = [n for n in folder.names() if n.endswith(".safetensors")] if folder.verified else []
    return " ".join(folder.sha256(name)[:16] for name in names) or None


def _words(examples: Sequence[Example], task: Task, window: float) -> float:
    """Return about how many words the examples' sequences have, none longer than `window`."""
    words = 0.0
    for example in examples:
        lengths = [len(text.split()) for text in example.texts]
        sequences = task.sequence_lengths(lengths, len(example.question.split()))
        words += sum(min(window, length) for length in sequences)
    return words
