"""A training run, read from its folder: its settings, every figure of its log, how it ended.

Read from run.json, metrics.jsonl and, once the run is finished, model/gpt1.json; nothing is
written, so a run that is still going can be read as well.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from gpt1 import storage
from gpt1.config import ModelConfig, check
from gpt1.errors import ConfigError, CorruptError, DataError
from gpt1.model.build import count_parameters
from gpt1.reports.formatting import format_duration, format_perplexity
from gpt1.reports.sections import Card

LAST = 50
"""Updates whose mean is the final training loss."""
_UPDATE = ("loss", "lr", "grad_norm", "tokens", "tokens_per_second", "seconds")

Record = dict[str, Any]
"""A line of metrics.jsonl."""


@dataclass(frozen=True)
class Results:
    """The figures of a run; None where it has no such figure."""

    finished: str | None
    """Why it ended; None while it has not."""
    updates: int
    skipped: int
    tokens: int
    seconds: float
    tokens_per_second: float | None
    loader_share: float | None
    train_loss: float | None
    """Mean of the last 50 updates."""
    valid_loss: float | None
    """The best of the evaluations during the run."""
    valid_step: int | None
    """Updates before it."""
    metric: str | None
    """What a task's model is chosen by; None is the loss."""
    valid_metric: float | None
    metric_step: int | None
    final_loss: float | None
    """The result's loss over all of the validation texts, in float32."""
    final_metric: float | None
    parameters: int | None

    def cards(self) -> list[Card]:
        """Return the figures that there are, for people."""
        language = self.metric is None
        texts = {
            "ended": self.finished or "not finished",
            "updates": f"{self.updates:,}",
            "skipped (loss not finite)": f"{self.skipped:,}" if self.skipped else None,
            "tokens": f"{self.tokens:,}",
            "time": format_duration(self.seconds),
            "tokens a second, median": _text(self.tokens_per_second, ",.0f"),
            "waiting for data": _text(self.loader_share, ".2%"),
            f"training loss, last {LAST} updates": _text(self.train_loss, ".4f"),
            "best validation loss": _text(self.valid_loss, ".4f"),
            "best validation perplexity": _perplexity(self.valid_loss) if language else None,
            "best at update": _text(self.valid_step, ",d"),
            f"best validation {self.metric}": _text(self.valid_metric, ".4f"),
            f"best {self.metric} at update": _text(self.metric_step, ",d"),
            "final validation loss": _text(self.final_loss, ".4f"),
            "final validation perplexity": _perplexity(self.final_loss) if language else None,
            f"final validation {self.metric}": _text(self.final_metric, ".4f"),
            "parameters": _text(self.parameters, ",d"),
        }
        return [Card(label, text) for label, text in texts.items() if text is not None]


@dataclass(frozen=True)
class History:
    """A run: `record` is run.json, `ended` is what RUN/model says of the training.

    updates, evaluations, samples, skipped: the records of metrics.jsonl, each of one kind.
    """

    path: Path
    record: dict[str, Any]
    updates: list[Record]
    evaluations: list[Record]
    samples: list[Record]
    skipped: list[Record]
    ended: dict[str, Any]

    @classmethod
    def read(cls, path: Path | str) -> History:
        """Read a run's folder.

        Raises DataError if the folder is not a run's, CorruptError if a file of it is damaged.
        """
        path = Path(path)
        record = _read_record(path / "run.json")
        log = path / "metrics.jsonl"
        with storage.wrap_os_errors("read", log):
            lines = storage.Log(log).read()
        for number, line in enumerate(lines, 1):
            _check_line(line, f"{log} line {number}")
        ended: dict[str, Any] = {}
        if (path / "model").is_dir():
            metadata = storage.Folder(path / "model").json("gpt1.json")
            ended = dict(metadata.get("training", {}))
        kinds = ("loss", "valid_loss", "sample", "skipped")
        updates, evaluations, samples, skipped = (
            [line for line in lines if kind in line] for kind in kinds
        )
        return cls(path, record, updates, evaluations, samples, skipped, ended)

    @cached_property
    def results(self) -> Results:
        """The figures that sum the run up."""
        shares = [line["loader_share"] for line in self.updates if "loader_share" in line]
        best = min(self.evaluations, key=lambda line: line["valid_loss"], default={})
        last = self.updates[-1] if self.updates else {}
        name = f"valid_{self.metric}"
        measured = [line for line in self.evaluations if line["step"] and name in line]
        top = max(measured, key=lambda line: (line[name], -line["valid_loss"]), default={})
        validation = self.ended.get("validation", {})
        return Results(
            finished=self.ended.get("reason"),
            updates=max((line["step"] for line in self.updates + self.skipped), default=0),
            skipped=len(self.skipped),
            tokens=last.get("tokens", 0),
            seconds=last.get("seconds", 0.0),
            tokens_per_second=_median(line["tokens_per_second"] for line in self.updates),
            loader_share=statistics.fmean(shares) if shares else None,
            train_loss=_mean(line["loss"] for line in self.updates[-LAST:]),
            valid_loss=best.get("valid_loss"),
            valid_step=best.get("step"),
            metric=self.metric,
            valid_metric=top.get(name),
            metric_step=top.get("step"),
            final_loss=validation.get("loss"),
            final_metric=validation.get(self.metric),
            parameters=self._parameters(),
        )

    @property
    def metric(self) -> str | None:
        """What a task's model is chosen by; None for language models."""
        names = [n for line in self.evaluations[:1] for n in line if n.startswith("valid_")]
        return next((n.removeprefix("valid_") for n in names if n != "valid_loss"), None)

    def settings(self) -> dict[str, Any]:
        """Return the resolved configuration, "section.field" -> value."""
        return {
            f"{section}.{name}": value
            for section, fields in self.record["config"].items()
            for name, value in fields.items()
        }

    def evaluation_near(self, step: int) -> Record | None:
        """Return the evaluation nearest to `step` updates, None if there is none."""
        return min(self.evaluations, key=lambda line: abs(line["step"] - step), default=None)

    def _parameters(self) -> int | None:
        try:
            return count_parameters(check(ModelConfig, self.record["config"]["model"]))
        except (ConfigError, KeyError):  # a run of another version
            return None


def _read_record(path: Path) -> dict[str, Any]:
    with storage.wrap_os_errors("read", path):
        if not path.is_file():
            raise DataError(
                f"{path.parent} is no run: it has no run.json. Give the folder that was --out of "
                f"gpt1 pretrain or gpt1 finetune."
            )
        text = path.read_bytes()
    try:
        record: dict[str, Any] = json.loads(text)
        config = {section: {**fields} for section, fields in record["config"].items()}
        return {
            "gpt1": str(record["gpt1"]),
            "config": config,
            "fingerprints": {**record["fingerprints"]},
            "machine": {**record["machine"]},
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CorruptError(f"{path} is damaged. Restore it from a copy.") from None


def _check_line(line: Any, where: str) -> None:
    """Refuse a line that no run wrote."""
    try:
        step = line["step"]
        figures = [line[name] for name in _UPDATE] if "loss" in line else []
        figures += [line[name] for name in ("valid_loss", "loader_share") if name in line]
        texts = [line[name] for name in ("sample", "skipped") if name in line]
    except (TypeError, KeyError, AttributeError):
        step, figures, texts = None, [], []
    sound = (
        isinstance(step, int)
        and all(isinstance(figure, int | float) for figure in figures)
        and all(isinstance(text, str) for text in texts)
    )
    if not sound:
        raise CorruptError(f"{where} is no record of a run: {str(line)[:60]!r}. Remove the line.")


def _median(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else None


def _mean(values: Iterable[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return statistics.fmean(finite) if finite else None


def _text(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _perplexity(loss: float | None) -> str | None:
    return None if loss is None else format_perplexity(loss)
