"""What a run's folder tells: its settings, every figure of its log, and how it ended.

Read from run.json, metrics.jsonl and, once the run is finished, model/gpt1.json; nothing is
written, so a run that is still going can be looked at.
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
from gpt1.training.estimate import count_parameters
from gpt1.training.progress import duration, perplexity

LAST = 50
"""Updates whose mean is the final training loss."""
_UPDATE = ("loss", "lr", "grad_norm", "tokens", "tokens_per_second", "seconds")

Line = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """What a run came to; None where it has no such figure."""

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
    valid_step: int | None
    """The best validation loss along the way, and the updates before it."""
    metric: str | None
    """What a task's model is chosen by; None is the loss."""
    valid_metric: float | None
    metric_step: int | None
    """The best of it along the way, and the updates before it."""
    final_loss: float | None
    """The result's loss over all of the validation texts, in float32."""
    final_metric: float | None
    parameters: int | None

    def labelled(self) -> dict[str, str | None]:
        """Return the figures for people, label -> text."""
        language = self.metric is None
        return {
            "ended": self.finished or "not finished",
            "updates": f"{self.updates:,}",
            "left out (loss not finite)": f"{self.skipped:,}" if self.skipped else None,
            "tokens": f"{self.tokens:,}",
            "time": duration(self.seconds),
            "tokens a second, median": _text(self.tokens_per_second, ",.0f"),
            "waiting for data": _text(self.loader_share, ".2%"),
            f"training loss, last {LAST} updates": _text(self.train_loss, ".4f"),
            "best validation loss": _text(self.valid_loss, ".4f"),
            "best validation perplexity": _perplexity(self.valid_loss) if language else None,
            "best at update": _text(self.valid_step, ",d"),
            f"best validation {self.metric}": _text(self.valid_metric, ".4f"),
            f"best {self.metric} at update": _text(self.metric_step, ",d"),
            "validation loss, all of it": _text(self.final_loss, ".4f"),
            "validation perplexity, all of it": _perplexity(self.final_loss) if language else None,
            f"validation {self.metric}, all of it": _text(self.final_metric, ".4f"),
            "parameters": _text(self.parameters, ",d"),
        }


@dataclass(frozen=True)
class History:
    """A run, read from its folder: `record` is run.json, `ended` what RUN/model says of it."""

    path: Path
    record: dict[str, Any]
    updates: list[Line]
    checks: list[Line]
    samples: list[Line]
    skipped: list[Line]
    ended: dict[str, Any]

    @classmethod
    def read(cls, path: Path | str) -> History:
        """Read a run's folder.

        Raises DataError if it is none, CorruptError if a file of it is damaged.
        """
        path = Path(path)
        record = _read_record(path / "run.json")
        log = path / "metrics.jsonl"
        with storage.reading(log):
            lines = storage.Log(log).read()
        for number, line in enumerate(lines, 1):
            _check_line(line, f"{log} line {number}")
        ended: dict[str, Any] = {}
        if (path / "model").is_dir():
            own = storage.Folder(path / "model").json("gpt1.json")
            ended = dict(own.get("training", {}))
        return cls(
            path,
            record,
            [line for line in lines if "loss" in line],
            [line for line in lines if "valid_loss" in line],
            [line for line in lines if "sample" in line],
            [line for line in lines if "skipped" in line],
            ended,
        )

    @cached_property
    def results(self) -> Results:
        """The figures a run is judged by."""
        shares = [line["loader_share"] for line in self.updates if "loader_share" in line]
        best = min(self.checks, key=lambda line: line["valid_loss"], default={})
        last = self.updates[-1] if self.updates else {}
        name = f"valid_{self.metric}"
        looked = [line for line in self.checks if line["step"] and name in line]
        top = max(looked, key=lambda line: (line[name], -line["valid_loss"]), default={})
        ended = self.ended.get("validation", {})
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
            final_loss=ended.get("loss"),
            final_metric=ended.get(self.metric),
            parameters=self._parameters(),
        )

    @property
    def metric(self) -> str | None:
        """What a task's model is chosen by; None for language models."""
        names = [n for line in self.checks[:1] for n in line if n.startswith("valid_")]
        return next((n.removeprefix("valid_") for n in names if n != "valid_loss"), None)

    def settings(self) -> dict[str, Any]:
        """Return the resolved configuration, "section.field" -> value."""
        return {
            f"{section}.{name}": value
            for section, fields in self.record["config"].items()
            for name, value in fields.items()
        }

    def check_near(self, step: int) -> Line | None:
        """Return the evaluation nearest to `step` updates, None if there is none."""
        return min(self.checks, key=lambda line: abs(line["step"] - step), default=None)

    def _parameters(self) -> int | None:
        try:
            return count_parameters(check(ModelConfig, self.record["config"]["model"]))
        except (ConfigError, KeyError):  # a run of another version
            return None


def _read_record(path: Path) -> dict[str, Any]:
    with storage.reading(path):
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
            "facts": {**record["facts"]},
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
    return None if loss is None else perplexity(loss)
