"""Which model of a run is kept, when a run ends early, and what its report says of weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tiny
import worlds
from gpt1.config import load_run
from gpt1.errors import ConfigError
from gpt1.reports.history import History
from gpt1.tasks.kinds import KINDS
from gpt1.tasks.predictor import Predictor
from gpt1.training import loop, supervised
from gpt1.training.run import RunOptions, TrainState


@pytest.mark.parametrize(
    ("patience", "warmup", "best", "step", "stops"),
    [
        (1, 30, 2, 130, True),  # an epoch is 100 updates
        (1, 30, 2, 120, False),
        (0.1, 30, 2, 100, True),  # never before an epoch is over
        (0.1, 30, 2, 50, False),
        (0.1, 150, 2, 160, True),  # from the end of the warm-up
        (0.1, 150, 2, 150, False),
        (2, 30, 110, 300, False),  # from the best model
        (2, 30, 110, 310, True),
        (2, 30, 110, 315, False),  # only at an evaluation, of which there is one in 10 updates
        (None, 30, 110, 900, False),
        (1, 30, None, 900, False),  # without rows to validate on
    ],
)
def test_patience_counts_epochs_from_the_end_of_the_warm_up(
    patience: float | None, warmup: int, best: int | None, step: int, stops: bool
) -> None:
    config = load_run(train={"patience": patience}, schedule={"warmup_share": warmup / 1000})
    setup: Any = SimpleNamespace(config=config, batches=SimpleNamespace(steps_per_epoch=100))
    state = TrainState(step=step, best=None if best is None else [1.0], waiting_since=best or 0)
    assert loop._out_of_patience(setup, state, 1000, 10) == stops


def fit(kind: str, folder: Path, *overrides: str) -> None:
    supervised.finetune(
        tiny.model(),
        worlds.tokenizer(folder / "words"),
        worlds.TASKS[kind],
        worlds.examples(kind, 14),
        worlds.examples(kind, 9, seed=1),
        load_run(recipe="small", overrides=["train.batch_size=4", *overrides]),
        RunOptions(folder / "run", quiet=True),
    )


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("classification", "matthews"), ("entailment", "f1"), ("regression", "spearman"),
     ("multi-label", "macro_f1"), ("sequence-labelling", "token_accuracy")],
)  # fmt: skip
def test_the_metric_chooses_the_best_model(kind: str, metric: str, tmp_path: Path) -> None:
    assert metric != worlds.TASKS[kind].metric
    fit(kind, tmp_path, f"task.metric={metric}", "train.eval_every=2")
    history = History.read(tmp_path / "run")
    figures = [line[f"valid_{metric}"] for line in history.evaluations if line["step"]]
    assert history.ended.validation[metric] == pytest.approx(max(figures), abs=1e-6)
    assert Predictor.load(tmp_path / "run").task.metric == metric


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_that_a_task_lacks_is_refused(kind: str) -> None:
    task = worlds.TASKS[kind]
    with pytest.raises(ConfigError, match=rf"task.metric is 'auc'; .* {task.metric}"):
        supervised.choose_metric(task, "auc")


def test_f1_needs_two_classes() -> None:
    with pytest.raises(ConfigError, match="can be chosen by accuracy, matthews"):
        supervised.choose_metric(worlds.TASKS["classification"], "f1")


def test_the_report_states_the_weight_of_each_class(tmp_path: Path) -> None:
    fit("classification", tmp_path, "task.class_weight=balanced", "train.steps=1")
    labels = [example.label for example in worlds.examples("classification", 14)]
    classes = worlds.TASKS["classification"].label_names
    weights = {name: 14 / (3 * labels.count(i)) for i, name in enumerate(classes)}
    assert History.read(tmp_path / "run").record.config["task"]["class_weight"] == weights
    report = (tmp_path / "run/report.html").read_text("utf-8")
    assert f"{weights['bad']:.3f}"[:4] in report
