"""A training run, read from its folder: its settings, every figure of its log, how it ended.

Nothing is written, so a run that is still going can be read as well.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from gpt1 import storage
from gpt1.config import ModelConfig, check
from gpt1.errors import ConfigError, CorruptError, DataError
from gpt1.model.build import count_parameters

LAST = 50
"""How many updates the final training loss is the mean of."""
_UPDATE = ("loss", "lr", "grad_norm", "tokens", "tokens_per_second", "seconds")
_TEXTS = ("sample", "skipped")
_LARGEST = 1e40
"""More than any float32."""

Record = dict[str, Any]
"""A line of metrics.jsonl."""


class RunRecord(BaseModel):
    """The content of run.json."""

    gpt1: str
    config: dict[str, dict[str, Any]]
    fingerprints: dict[str, Any]
    machine: dict[str, Any]
    started: str | None = None
    """When, in local time."""
    command: dict[str, Any] | None = None
    """The command that started the run; see `training.resume.command_record`."""


class Ended(BaseModel):
    """How a training ended, in RUN/model/gpt1.json."""

    reason: str | None = None
    steps: int | None = None
    validation: dict[str, float] = {}


@dataclass(frozen=True)
class History:
    """A run: `record` is run.json, `ended` how the training ended, from RUN/model/gpt1.json.

    updates, evaluations, samples, skipped: the lines of metrics.jsonl, each of one sort.
    """

    path: Path
    record: RunRecord
    updates: list[Record]
    evaluations: list[Record]
    samples: list[Record]
    skipped: list[Record]
    ended: Ended

    @classmethod
    def read(cls, path: Path | str) -> History:
        """Read a run's folder. Raises DataError if it is not a run, CorruptError if damaged."""
        path = Path(path)
        record = _read_record(path / "run.json")
        log = path / "metrics.jsonl"
        with storage.wrap_os_errors("read", log):
            lines = storage.Log(log).read()
        for number, line in enumerate(lines, 1):
            if not _is_record(line):
                text = str(line)[:60]
                raise CorruptError(f"{log} line {number} is no record: {text!r}. Remove the line.")
        ended = read_end(path / "model") if (path / "model").is_dir() else Ended()
        kinds = ("loss", "valid_loss", "sample", "skipped")
        updates, evaluations, samples, skipped = ([x for x in lines if kind in x] for kind in kinds)
        return cls(path, record, updates, evaluations, samples, skipped, ended)

    @cached_property
    def results(self) -> dict[str, Any]:
        """The figures that sum up the run; None for those it does not have."""
        best = min(self.evaluations, key=lambda line: line["valid_loss"], default={})
        last = self.updates[-1] if self.updates else {}
        name = f"valid_{self.metric}"
        measured = [line for line in self.evaluations if line["step"] and name in line]
        top = max(measured, key=lambda line: (line[name], -line["valid_loss"]), default={})
        validation = self.ended.validation
        steps = [line["step"] for line in self.updates + self.skipped]
        speeds = [line["tokens_per_second"] for line in self.updates]
        shares = [line["loader_share"] for line in self.updates if "loader_share" in line]
        return {
            "finished": self.ended.reason,
            "updates": max(steps, default=0),
            "skipped": len(self.skipped),
            "tokens": last.get("tokens", 0),
            "seconds": last.get("seconds", 0.0),
            "tokens_per_second": statistics.median(speeds) if speeds else None,
            "loader_share": statistics.fmean(shares) if shares else None,
            "train_loss": _mean(line["loss"] for line in self.updates[-LAST:]),
            "valid_loss": best.get("valid_loss"),
            "valid_step": best.get("step"),
            "metric": self.metric,
            "valid_metric": top.get(name),
            "metric_step": top.get("step"),
            "final_loss": validation.get("loss"),  # of all validation texts, in float32
            "final_metric": validation.get(self.metric or ""),
            "parameters": self._parameters(),
        }

    @property
    def metric(self) -> str | None:
        """The metric a task's model is chosen by; None for language models."""
        names = [n for line in self.evaluations[:1] for n in line if n.startswith("valid_")]
        return next((n.removeprefix("valid_") for n in names if n != "valid_loss"), None)

    @property
    def loss_name(self) -> str:
        """What the loss is: of a task its own, or the sum with the LM loss."""
        task = self.record.config.get("task", {})
        if task.get("kind", "lm") == "lm" and self.metric is None:
            return "nats a token"
        lm_coef = task.get("lm_coef", 0)
        return f"task + {lm_coef:g} x LM" if lm_coef else "task loss"

    def settings(self) -> dict[str, Any]:
        """Return the resolved configuration, "section.field" -> value."""
        return {
            f"{section}.{name}": value
            for section, fields in self.record.config.items()
            for name, value in fields.items()
        }

    def _parameters(self) -> int | None:
        try:
            return count_parameters(check(ModelConfig, self.record.config["model"]))
        except (ConfigError, KeyError):  # a run of another version
            return None


def _read_record(path: Path) -> RunRecord:
    with storage.wrap_os_errors("read", path):
        if not path.is_file():
            raise DataError(
                f"{path.parent} is no run: it has no run.json. Give the folder that was --out of "
                f"gpt1 pretrain or gpt1 finetune."
            )
    try:
        return RunRecord.model_validate(storage.read_record(path))
    except ValueError:
        raise CorruptError(f"{path} is damaged. Restore it from a copy.") from None


def read_end(model: Path) -> Ended:
    """Return how the training of RUN/model ended. Raises CheckpointError, CorruptError."""
    own = storage.Folder(model).json("gpt1.json")
    try:
        return Ended.model_validate(own.get("training", {}))
    except (ValueError, AttributeError):
        raise CorruptError(f"{model / 'gpt1.json'} is damaged. Restore it from a copy.") from None


def _is_record(line: Any) -> bool:
    """Return whether a run can have written this line of metrics.jsonl."""
    if not isinstance(line, dict):
        return False
    figures = {"step", *(_UPDATE if "loss" in line else ())}
    figures |= {n for n in line if n in (*_UPDATE, "loader_share") or n.startswith("valid_")}
    texts = (line[name] for name in _TEXTS if name in line)
    return (
        isinstance(line.get("step"), int)
        and all(_is_figure(line.get(name)) for name in figures)
        and all(isinstance(text, str) for text in texts)
    )


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not _LARGEST < abs(value) < math.inf


def _mean(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else None
