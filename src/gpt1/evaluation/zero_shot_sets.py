"""The zero-shot heuristics on the data sets of figure 2, right: scores, intervals, normalised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpt1.callbacks import ProgressCallback
from gpt1.errors import ConfigError, DataError, counted, did_you_mean
from gpt1.evaluation import zero_shot
from gpt1.model.build import Model
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.datasets import data_set
from gpt1.tasks.datasets.winograd import SCHEMA_SETS, Schema
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer

Heuristic = Literal["acceptability", "sentiment", "choices", "schemas"]


@dataclass(frozen=True)
class Setting:
    """How a data set is measured, and on which split by default.

    random, reference: the values of guessing and of the state of the art of the paper's time, by
    `source`; the normalised score is 0 and 1 there (spec 7.2.6).
    """

    title: str
    heuristic: Heuristic
    split: str
    random: float
    reference: float
    source: str
    metric: str = "accuracy"

    def normalised(self, value: float) -> float:
        """Return (value - random) / (reference - random)."""
        return (value - self.random) / (self.reference - self.random)


SETTINGS: Mapping[str, Setting] = {
    "cola": Setting(
        "linguistic acceptability (CoLA)", "acceptability", "dev", 0.0, 0.350,
        "BiLSTM + ELMo + Attn, the paper's table 4", "matthews",
    ),
    "sst2": Setting(
        "sentiment analysis (SST-2)", "sentiment", "dev", 0.5, 0.932,
        "sparse byte mLSTM, the paper's table 4",
    ),
    "race": Setting(
        "question answering (RACE)", "choices", "dev", 0.25, 0.533,
        "BiAttention MRU (9x), the paper's table 3",
    ),
    "dpr": Setting(
        "Winograd schemas (DPR)", "schemas", "train", 0.5, 0.764, "Peng, Khashabi and Roth 2015"
    ),
    "wsc273": Setting(
        "Winograd schemas (WSC273)", "schemas", "test", 0.5, 0.637,
        "Trinh and Le 2018, an ensemble",
    ),
}  # fmt: skip
"""By data set. The references are our choice: the paper says "the best single model" and names no
values. RACE's and WSC273's are ensembles, since the paper has no better single model."""


@dataclass(frozen=True)
class Questions:
    """Labelled rows of one split of a data set; `tuning` rows choose acceptability's threshold.

    account: how many rows were read and used, a line for each split.
    """

    rows: Sequence[Example] | Sequence[Schema]
    tuning: Sequence[Example] = ()
    account: Sequence[str] = ()
    split: str = ""

    def __len__(self) -> int:
        return len(self.rows) + len(self.tuning)


@dataclass(frozen=True)
class ZeroShotResult:
    """The result of a model on one data set, on so many `rows` of `split`.

    low, high: the value's 95 % bootstrap interval over rows. normalised: 0 is guessing, 1 the
    reference. threshold: acceptability's, chosen on the tuning rows. by_sums: the value if answers
    of different token counts are compared by the sums of their log-probabilities; `value` compares
    means. note: what forbids to make something of the value.
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
    by_sums: float | None = None
    note: str = ""


def check_sets(names: Iterable[str]) -> list[str]:
    """Return the names, once each, in order. Raises ConfigError for one that is not in SETTINGS."""
    chosen = list(dict.fromkeys(names))
    unknown = next((name for name in chosen if name not in SETTINGS), "")
    if unknown or not chosen:
        raise ConfigError(
            f"the data sets are {', '.join(map(repr, chosen)) or 'none'}; there are "
            f"{', '.join(SETTINGS)}. Name some of these.{did_you_mean(unknown, SETTINGS)}"
        )
    return chosen


def load_sets(
    source: Path | str,
    names: Iterable[str] = tuple(SETTINGS),
    limit: int | None = None,
    split: str | None = None,
) -> dict[str, Questions]:
    """Return the rows of data sets; `source` and `limit` are as those of `DataSet.load`.

    split: the measured rows; by default dev of CoLA, SST-2 and RACE, train of DPR (larger than its
    test set, and nothing is trained on it), and all of WSC273. CoLA's threshold is always tuned on
    train rows. Raises ConfigError, DataError, also for rows without labels.
    """
    sets: dict[str, Questions] = {}
    for name in check_sets(names):
        entry = SCHEMA_SETS[name] if name in SCHEMA_SETS else data_set(name)
        rows = entry.load(source, split or SETTINGS[name].split, limit)
        if any(row.label is None for row in rows.examples):
            raise DataError(
                f"the split {rows.split} of {name} has no labels, so nothing can be measured on "
                f"it. Choose another --split, or leave {name} out of --sets."
            )
        sets[name] = Questions(rows.examples, [], [str(rows)], rows.split)
        if SETTINGS[name].heuristic == "acceptability":
            train = data_set(name).load(source, "train", limit)
            account = [str(rows), str(train)]
            sets[name] = Questions(rows.examples, train.examples, account, rows.split)
    return sets


def measure(
    model: Model,
    tokenizer: Tokenizer,
    sets: Mapping[str, Questions],
    *,
    progress: ProgressCallback | None = None,
) -> list[ZeroShotResult]:
    """Measure `model` on each of `sets` (name in SETTINGS -> rows), in their order.

    `progress` counts the rows of all sets. Raises DataError for a set without rows, or CoLA without
    tuning rows, and what the heuristics raise.
    """
    results = []
    done, total = 0, sum(map(len, sets.values()))
    for name in check_sets(sets):
        setting, questions = SETTINGS[name], sets[name]
        labels = np.array([row.label for row in questions.rows])
        if not len(labels) or (setting.heuristic == "acceptability" and not questions.tuning):
            raise DataError(
                f"{name} has {counted(len(labels), 'row')}, and {len(questions.tuning)} to choose "
                f"a threshold on. Give at least one of each that is needed."
            )

        def report(part: int, parts: int, before: int = done, rows: int = len(questions)) -> None:
            if progress is not None:  # a heuristic may count candidates
                progress(before + rows * part // parts, total)

        (predicted, *sums), threshold = _predict(
            setting.heuristic, model, tokenizer, questions, report
        )
        done += len(questions)
        interval = bootstrap(setting.metric, labels, predicted)
        result = ZeroShotResult(
            name,
            setting.metric,
            **vars(interval),
            random=setting.random,
            normalised=setting.normalised(interval.value),
            rows=len(labels),
            threshold=threshold,
            split=questions.split,
            by_sums=bootstrap(setting.metric, labels, sums[0]).value if sums else None,
            note=_one_answer(labels, predicted, *sums),
        )
        results.append(result)
    return results


def _one_answer(labels: NDArray[Any], *predicted: NDArray[np.int64]) -> str:
    """Return a note if a way to predict gives all rows the same answer, though labels differ."""
    same = [len(set(answers.tolist())) == 1 for answers in predicted]
    if not any(same) or len(set(labels.tolist())) == 1:
        return ""
    ways = [way for way, one in zip(("means", "sums"), same, strict=False) if one]
    by = f", by {' and by '.join(ways)}" if len(same) > 1 else ""
    return f"one answer for all rows{by}: no finding"


def _predict(
    heuristic: Heuristic,
    model: Model,
    tokenizer: Tokenizer,
    questions: Questions,
    progress: ProgressCallback,
) -> tuple[list[NDArray[np.int64]], float | None]:
    """Return the predicted class (n,) of each row, and the threshold if there is one.

    The classes are those by means and, where sums may differ from them, those by sums.
    """
    rows: Any = questions.rows
    if heuristic == "schemas":
        return [zero_shot.schemas(model, tokenizer, rows, progress).argmax(1)], None
    texts = [row.texts[0] for row in rows]
    if heuristic == "sentiment":
        scores = zero_shot.sentiment(model, tokenizer, texts, progress)
        lengths = zero_shot.sentiment_lengths(tokenizer)
        ways = [scores, scores * lengths] if len(set(lengths)) > 1 else [scores]
        return [way.argmax(1) for way in ways], None
    if heuristic == "choices":
        contexts = [f"{row.texts[0]} {row.question}" for row in rows]
        answers = [row.texts[1:] for row in rows]
        return [zero_shot.choices(model, tokenizer, contexts, answers, progress).argmax(1)], None
    tuning = [row.texts[0] for row in questions.tuning]
    # one pass for both: the threshold is of the tuning rows alone
    scores = zero_shot.acceptability(model, tokenizer, [*tuning, *texts], progress)
    labels = np.array([row.label for row in questions.tuning])
    threshold = zero_shot.best_threshold(scores[: len(tuning)], labels)
    return [(scores[len(tuning) :] > threshold).astype(np.int64)], threshold
