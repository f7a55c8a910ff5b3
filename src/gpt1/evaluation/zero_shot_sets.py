"""The zero-shot heuristics on the data sets of figure 2, right: scores, intervals, normalised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from gpt1.errors import ConfigError, DataError
from gpt1.evaluation import zero_shot
from gpt1.evaluation.zero_shot import ROWS, LanguageModel, Report
from gpt1.tasks.datasets import data_set
from gpt1.tasks.datasets.winograd import SCHEMA_SETS, Schema
from gpt1.tasks.metrics import bootstrap
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer

Heuristic = Literal["acceptability", "sentiment", "choices", "schemas"]
Progress = Callable[[str, int, int], None]
"""Takes the data set's name, rows done, rows in all."""


@dataclass(frozen=True)
class Setting:
    """How a data set is judged.

    random: what guessing gives; reference: the state of the art of the paper's time, `source`'s:
    the ends of the normalised score (spec 7.2.6).
    """

    heuristic: Heuristic
    metric: str
    random: float
    reference: float
    source: str

    def normalised(self, value: float) -> float:
        """Return (value - random) / (reference - random)."""
        return (value - self.random) / (self.reference - self.random)


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "cola": Setting(
            "acceptability", "matthews", 0.0, 0.350, "BiLSTM + ELMo + Attn, the paper's table 4"
        ),
        "sst2": Setting(
            "sentiment", "accuracy", 0.5, 0.932, "sparse byte mLSTM, the paper's table 4"
        ),
        "race": Setting(
            "choices", "accuracy", 0.25, 0.533, "BiAttention MRU (9x), the paper's table 3"
        ),
        "dpr": Setting("schemas", "accuracy", 0.5, 0.764, "Peng, Khashabi and Roth 2015"),
        "wsc273": Setting("schemas", "accuracy", 0.5, 0.637, "Trinh and Le 2018, an ensemble"),
    }
)
"""By data set. The references are our choice: the paper says "the best single model" and names no
values. RACE's and WSC273's are ensembles, since no better single model is on record in the paper.
"""

_SCHEMA_SPLITS = {"dpr": "train", "wsc273": "test"}


@dataclass(frozen=True)
class Questions:
    """Rows of one data set, each with a label; `tuning` rows choose acceptability's threshold.

    account: what became of the rows of the files, a line for each split. split: what `rows` are.
    """

    rows: Sequence[Example] | Sequence[Schema]
    tuning: Sequence[Example] = ()
    account: tuple[str, ...] = ()
    split: str = ""


@dataclass(frozen=True)
class Result:
    """What a model reaches on one data set.

    low and high: the ends of the value's 95% bootstrap interval over rows; normalised: 0 is
    guessing, 1 the reference; threshold: acceptability's, chosen on the tuning rows; split: the
    measured rows.
    """

    data: str
    metric: str
    value: float
    low: float
    high: float
    random: float
    normalised: float
    rows: int
    threshold: float | None = None
    split: str = ""


def check_sets(names: Iterable[str]) -> list[str]:
    """Return the names, once each, in order. Raises ConfigError for one that is not in SETTINGS."""
    found = list(dict.fromkeys(names))
    if not found or not set(found) <= SETTINGS.keys():
        raise ConfigError(
            f"the data sets are {', '.join(map(repr, found)) or 'none'}; there are "
            f"{', '.join(SETTINGS)}. Name some of these."
        )
    return found


def load_sets(
    source: Path | str,
    names: Iterable[str] = tuple(SETTINGS),
    limit: int | None = None,
    split: str | None = None,
) -> dict[str, Questions]:
    """Return the rows of data sets; `source` and `limit` are as those of `DataSet.load`.

    split: which rows are measured; None: the dev sets of CoLA, SST-2 and RACE; DPR's train rows,
    more than its test set has, since nothing is trained on them; all of WSC273. CoLA's threshold is
    tuned on train rows in any case. Raises ConfigError for an unknown name or split, DataError for
    missing or malformed files, and for rows without labels.
    """
    found: dict[str, Questions] = {}
    for name in check_sets(names):
        heuristic = SETTINGS[name].heuristic
        if heuristic == "schemas":
            schemas = SCHEMA_SETS[name].load(source, split or _SCHEMA_SPLITS[name], limit)
            found[name] = Questions(schemas.schemas, account=(str(schemas),), split=schemas.split)
            continue
        rows = data_set(name).load(source, split or "dev", limit)
        if any(example.label is None for example in rows.examples):
            raise DataError(
                f"the split {rows.split} of {name} has no labels here, so there is nothing to "
                f"measure on. Take another --split, or leave {name} out of --sets."
            )
        account, tuned = [str(rows)], []
        if heuristic == "acceptability":
            tuning = data_set(name).load(source, "train", limit)
            tuned = tuning.examples
            account.append(str(tuning))
        found[name] = Questions(rows.examples, tuned, tuple(account), rows.split)
    return found


def measure(
    model: LanguageModel,
    tokenizer: Tokenizer,
    sets: Mapping[str, Questions],
    *,
    samples: int = 1000,
    seed: int = 0,
    rows: int = ROWS,
    progress: Progress | None = None,
) -> list[Result]:
    """Return what `model` reaches on each of `sets` (name in SETTINGS -> rows), in their order.

    `samples` and `seed` are the bootstrap's. Raises DataError for a set without rows, or CoLA
    without tuning rows, and what the heuristics raise.
    """
    found = []
    for name in check_sets(sets):
        setting, questions = SETTINGS[name], sets[name]
        total = len(questions.rows) + len(questions.tuning)
        labels = np.array([row.label for row in questions.rows])
        if not len(labels) or (setting.heuristic == "acceptability" and not questions.tuning):
            raise DataError(
                f"{name} has {len(labels)} rows, and {len(questions.tuning)} to choose a threshold "
                f"on; there is nothing to measure. Give some of them."
            )
        predicted, threshold = _predict(
            setting.heuristic, model, tokenizer, questions, rows, _counting(name, total, progress)
        )
        reached = bootstrap(setting.metric, labels, predicted, samples=samples, seed=seed)
        found.append(
            Result(
                name,
                setting.metric,
                reached.value,
                reached.low,
                reached.high,
                setting.random,
                setting.normalised(reached.value),
                len(labels),
                threshold,
                questions.split,
            )
        )
    return found


def _predict(
    heuristic: Heuristic,
    model: LanguageModel,
    tokenizer: Tokenizer,
    questions: Questions,
    rows: int,
    report: Report | None,
) -> tuple[Any, float | None]:
    """Return the predicted class (n,) of each row, and the threshold if there is one."""
    options: Any = {"rows": rows, "report": report}
    asked: Any = questions.rows
    if heuristic == "schemas":
        return zero_shot.schemas(model, tokenizer, asked, **options).argmax(1), None
    texts = [row.texts[0] for row in asked]
    if heuristic == "sentiment":
        return zero_shot.sentiment(model, tokenizer, texts, **options).argmax(1), None
    if heuristic == "choices":
        contexts = [f"{row.texts[0]} {row.question}" for row in asked]
        answers = [row.texts[1:] for row in asked]
        scores = zero_shot.choices(model, tokenizer, contexts, answers, **options)
        return scores.argmax(1), None
    tuning = [row.texts[0] for row in questions.tuning]
    # one pass for both: the threshold is of the tuning rows alone
    scores = zero_shot.acceptability(model, tokenizer, [*tuning, *texts], **options)
    labels = np.array([row.label for row in questions.tuning])
    threshold = zero_shot.best_threshold(scores[: len(tuning)], labels)
    return (scores[len(tuning) :] > threshold).astype(np.int64), threshold


def _counting(name: str, total: int, progress: Progress | None) -> Report | None:
    if progress is None:
        return None
    done = 0

    def report(rows: int) -> None:
        nonlocal done
        done += rows
        progress(name, done, total)

    return report
