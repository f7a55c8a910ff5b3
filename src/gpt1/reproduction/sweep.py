"""Experiments: one data set, one way of training and one seed give one result on disk.

Each model is trained with the paper's recipe on a sample of the training rows. Held-out rows choose
nothing: the last model is measured on the test rows, or on the dev rows where no test set has
labels. Predictions are kept with the result, so that tables and intervals can be made again without
training. A sweep that was cut off goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from gpt1 import storage
from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint import hub
from gpt1.checkpoint.folder import read_config
from gpt1.config import ModelConfig, RunConfig, default_recipe, load_run
from gpt1.errors import ConfigError, DataError, GPT1Error, StorageError
from gpt1.evaluation.baselines import MAJORITY, baseline_scores
from gpt1.model.build import count_parameters
from gpt1.pipeline import load
from gpt1.reproduction.paper import LSTM, NO_AUX, NO_PRETRAINING
from gpt1.reproduction.results import RESULTS, Experiment, ExperimentResult
from gpt1.tasks.collate import encode
from gpt1.tasks.datasets import data_set
from gpt1.tasks.datasets.entry import Rows, sample
from gpt1.tasks.datasets.files import find_split
from gpt1.tasks.kinds import Task
from gpt1.tasks.leakage import leakage
from gpt1.tasks.metrics import METRICS
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import SPECIAL, Example
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import supervised
from gpt1.training.resume import FREE_SETTINGS
from gpt1.training.run import RunOptions

_FITTED = 200
"""How many training rows are measured too; the tokens of all rows are estimated from as many."""
_FORWARD = 1 / 3
"""The time to read a token, as a share of the time to learn from it."""
_SHARES = {"race": 4}
"""RACE is read to a quarter of the limits: each of its questions is four long texts."""
_PARTS = {"mnli": ("matched", "mismatched"), "race": ("middle", "high")}
"""The parts of a data set that the paper reports, in the order in which their files are read."""


@dataclass(frozen=True)
class SplitRows:
    """The training rows and the measured rows of a data set, within the limits."""

    task: Task
    train: Rows[Example]
    test: Rows[Example]

    @cached_property
    def baselines(self) -> dict[str, list[float]]:
        """What simple ways, learned from the training rows, predict for the measured ones."""
        scores = baseline_scores(self.task, self.train.examples, self.test.examples)
        del scores[MAJORITY]  # a result knows its own
        return {name: self.task.decide(rows).tolist() for name, rows in scores.items()}

    @cached_property
    def fingerprint(self) -> str:
        """The hash of all rows."""
        parts = (self.train.examples, self.test.examples)
        rows = [[[e.texts, e.question, e.label] for e in part] for part in parts]
        text = json.dumps([self.test.split, *rows])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass
class Sweep:
    """Experiments with one model, and with another for the LSTM variant; results are in `out`.

    train, test: how many rows are read of each data set (of RACE a quarter); None: all. overrides:
    settings that differ from the recipe's, as section.field=value.
    """

    out: Path
    data: Path | str
    start: str = "mini"
    lstm: str | None = None
    train: int | None = 2000
    test: int | None = 1000
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.rows = lru_cache(maxsize=2)(self._rows)  # the variants of a data set follow each other

    def result(self, experiment: Experiment) -> ExperimentResult | None:
        """Return a finished result. Raises ConfigError if it was made with other settings."""
        folder = self.out / RESULTS / experiment.name
        if not folder.is_dir():
            return None
        result, settings = ExperimentResult.read(folder), self.settings(experiment)
        names = result.settings.keys() | settings
        if settings["rows"] is None:  # the data is not here any more: nothing to compare with
            names -= {"rows"}
        pairs = {name: (result.settings.get(name), settings.get(name)) for name in sorted(names)}
        different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if different:
            old, new = ({name: pair[i] for name, pair in different.items()} for i in (0, 1))
            raise ConfigError(
                f"{folder} holds a result of other settings ({old}, not {new}). Choose another "
                f"--out, or remove that folder."
            )
        return result

    def settings(self, experiment: Experiment) -> dict[str, Any]:
        """Return everything that the result depends on."""
        sections = self.config(experiment).model_dump(mode="json", exclude={"model"})
        settings = {
            f"{section}.{name}": value
            for section, fields in sections.items()
            for name, value in fields.items()
            if (section, name) not in FREE_SETTINGS
        }
        settings["weights"] = fingerprint(self.model(experiment.variant))
        settings["train rows"] = limit_of(experiment.data, self.train)
        settings["test rows"] = limit_of(experiment.data, self.test)
        try:
            settings["rows"] = self.rows(experiment.data).fingerprint
        except GPT1Error:
            settings["rows"] = None
        return settings

    def run(
        self, experiment: Experiment, progress: ProgressCallback | None = None
    ) -> ExperimentResult:
        """Train an experiment's model, or go on with it; measure it and keep the result.

        `progress` counts updates.
        """
        data, variant = experiment.data, experiment.variant
        split, run = self.rows(data), self._run_folder(experiment)
        train, test = split.train.examples, split.test.examples
        resume = (run / "run.json").is_file()
        options = RunOptions(run, resume, quiet=True, report=False, progress=progress)
        gpt, config = load(self.model(variant)), self.config(experiment)
        began = time.monotonic()
        model, tokenizer = supervised.finetune(
            gpt.model, gpt.tokenizer, split.task, train, [], config, options
        )
        predictor = Predictor(model, tokenizer, split.task)
        learnt = train[: min(_FITTED, len(test))]
        predicted, fitted = (
            predictor.decide(predictor.probabilities(part)) for part in (test, learnt)
        )
        metrics = data_set(data).metrics
        overlap = leakage(train, test, split.task.kind)
        result = ExperimentResult(
            experiment=experiment,
            model=label(self.model(variant)),
            parameters=count_parameters(self.model_config(variant)),
            split=split.test.split,
            train_rows=len(train),
            gold=_labels(test),
            predicted=predicted.tolist(),
            seconds=round(time.monotonic() - began, 1),
            settings=self.settings(experiment),
            train_metrics={name: METRICS[name](_labels(learnt), fitted) for name in metrics},
            parts=self.parts(data, split.test.split),
            leakage={n: getattr(overlap, n) for n in ("exact", "overlapping", "rows")},
            shared_texts=dict(overlap.texts),
            baselines=split.baselines,
        )
        result.write(self.out / RESULTS / experiment.name)
        self.tidy(experiment)
        return result

    def tidy(self, experiment: Experiment) -> None:
        """Remove the run of a finished experiment: the models of all would fill the disk."""
        run = self._run_folder(experiment)
        if (run / "run.json").is_file():
            with contextlib.suppress(StorageError):
                storage.remove(run)

    def model(self, variant: str) -> str:
        """Return the model a variant is fine-tuned from. Raises ConfigError if there is no LSTM."""
        if variant != LSTM:
            return self.start
        if self.lstm is None:
            raise ConfigError(
                "the LSTM's row needs a pre-trained LSTM; give its folder with --lstm, or leave "
                "the row out. To make one: gpt1 pretrain SHARDS --size lstm-mini --out RUN"
            )
        return self.lstm

    def model_config(self, variant: str) -> ModelConfig:
        """Return the shape of a variant's model. Raises ConfigError if --lstm is no LSTM."""
        config = read_config(hub.resolve(self.model(variant)))
        if variant == LSTM and config.n_hidden is None:
            raise ConfigError(
                f"--lstm is {self.lstm}, which is a Transformer. Give an LSTM; to make one: gpt1 "
                f"pretrain SHARDS --size lstm-mini --out RUN"
            )
        return config

    def config(self, experiment: Experiment) -> RunConfig:
        """Return the settings that an experiment is trained with. Raises ConfigError."""
        layers = -1 if experiment.variant == NO_PRETRAINING else experiment.layers
        overrides = [f"train.seed={experiment.seed}", "train.keep_checkpoints=1"]
        if experiment.variant == NO_AUX:
            overrides.append("task.lm_coef=0")
        if layers is not None:
            overrides.append(f"task.n_transfer={layers}")
        kind = data_set(experiment.data).task.kind
        recipe = default_recipe(kind, self.model_config(experiment.variant))
        return load_run(recipe=recipe, overrides=[*overrides, *self.overrides])

    def has_data(self, data: str) -> bool:
        """Return whether the data folder has any split of a data set. Raises DataError."""
        entry = data_set(data)
        return any(find_split(entry.files, self.data, s, missing_ok=True) for s in entry.splits)

    def tokens(self, experiment: Experiment) -> int:
        """Estimate how many tokens an experiment reads, to estimate its time.

        Those of every epoch, and a share of those that are only measured.
        """
        split, train = self.rows(experiment.data), self.config(experiment).train
        tokenizer = Tokenizer.load(hub.resolve(self.model(experiment.variant)))
        tokenizer.add_tokens(SPECIAL)
        examples = split.train.examples[:_FITTED]
        n_ctx = self.model_config(experiment.variant).n_ctx
        per_row = float(encode(examples, split.task, tokenizer, n_ctx).lengths.mean())
        learnt, measured = len(split.train.examples) * train.epochs, len(split.test.examples)
        if train.steps is not None:
            learnt = train.steps * train.batch_size
        return round((learnt + _FORWARD * (measured + min(_FITTED, measured))) * per_row)

    def parts(self, data: str, split: str) -> dict[str, list[int]]:
        """Return which measured rows belong to which part; empty for a data set without parts."""
        entry, names = data_set(data), _PARTS.get(data, ())
        if any(f"{split}_{name}" not in entry.splits for name in names):
            return {}
        try:
            counts = [len(entry.load(self.data, f"{split}_{name}").examples) for name in names]
        except DataError:
            return {}
        rows = sample(sum(counts), limit_of(data, self.test))
        part = np.searchsorted(np.cumsum(counts), rows, side="right")
        return {name: np.flatnonzero(part == i).tolist() for i, name in enumerate(names)}

    def _rows(self, data: str) -> SplitRows:
        entry, limit = data_set(data), limit_of(data, self.test)
        train = entry.load(self.data, "train", limit_of(data, self.train))
        if find_split(entry.files, self.data, "test", missing_ok=True):
            test = entry.load(self.data, "test", limit)  # raises if it is damaged
            if all(example.label is not None for example in test.examples):
                return SplitRows(entry.task, train, test)
        return SplitRows(entry.task, train, entry.load(self.data, "dev", limit))

    def _run_folder(self, experiment: Experiment) -> Path:
        return self.out / "runs" / experiment.name


def limit_of(data: str, limit: int | None) -> int | None:
    """Return how many rows of a data set are read when `limit` is that of most data sets."""
    return limit if limit is None else max(1, limit // _SHARES.get(data, 1))


def label(name: Path | str) -> str:
    """Return a short name of a model or a run.

    >>> label("runs/long/model"), label("mini")
    ('long', 'mini')
    """
    path = Path(str(name).encode(errors="replace").decode())  # bytes that are not text
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def fingerprint(model: str) -> str:
    """Return the hash of a model's weights, or its name if its folder records none."""
    folder = storage.Folder(hub.resolve(model))
    names = [n for n in folder.names() if n.endswith(".safetensors")] if folder.verified else []
    return " ".join(folder.sha256(name)[:16] for name in names) or label(model)


def _labels(examples: Sequence[Example]) -> list[float]:
    labels: list[float] = np.array([example.label for example in examples], float).tolist()
    return labels
