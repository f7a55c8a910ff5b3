"""The paper's published numbers: its tables 2 to 5, and the sizes of its training sets.

Figures are in percent, as printed; None is a dash. They are test results of a model of 116.5 M
parameters, or of an LSTM with one layer of 2,048 units, fine-tuned on all training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PARAMETERS = 116_534_784

FULL, NO_AUX, NO_PRETRAINING, LSTM = "full", "no auxiliary LM", "no pre-training", "LSTM"
VARIANTS = (FULL, NO_PRETRAINING, NO_AUX, LSTM)

SIZES: Mapping[str, str] = dict.fromkeys(VARIANTS, "116.5 M") | {LSTM: "2,048 units"}
"""The sizes of the paper's models; it does not count the LSTM's weights."""

TITLES: Mapping[str, str] = {
    "cola": "CoLA", "sst2": "SST2", "mrpc": "MRPC", "stsb": "STSB", "qqp": "QQP", "mnli": "MNLI",
    "qnli": "QNLI", "rte": "RTE", "snli": "SNLI", "scitail": "SciTail", "race": "RACE",
    "storycloze": "Story Cloze", "mnli_matched": "MNLI-m", "mnli_mismatched": "MNLI-mm",
    "race_middle": "RACE-m", "race_high": "RACE-h",
}  # fmt: skip
"""The name of a data set, or of a part of one -> its name in the paper's tables."""

METRICS: Mapping[str, str] = {"accuracy": "acc", "f1": "F1", "matthews": "mc", "pearson": "pc"}
"""A metric -> the paper's abbreviation."""

TRAIN_ROWS: Mapping[str, int] = {
    "cola": 8_551, "sst2": 67_349, "mrpc": 3_668, "stsb": 5_749, "qqp": 363_849, "mnli": 392_702,
    "qnli": 108_436, "rte": 2_490, "snli": 549_367, "scitail": 23_596, "race": 87_866,
    "storycloze": 1_497,
}  # fmt: skip
"""How many rows of the official training sets have a gold label."""


@dataclass(frozen=True)
class Published:
    """A table of the paper; columns are data sets or parts of them, or "glue".

    rows: a method -> its figures, in the order of the columns.
    """

    number: int
    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float | None, ...]]

    def figure(self, method: str, column: str) -> float | None:
        """Return a printed figure; None for a dash, or if there is no such column.

        >>> TABLE2.figure("GPT-1", "scitail")
        88.3
        """
        return dict(zip(self.columns, self.rows[method], strict=True)).get(column)


OURS = "GPT-1"
"""The paper's own method in tables 2 to 4."""

TABLE2 = Published(
    2,
    "natural language inference (accuracy, %)",
    ("mnli_matched", "mnli_mismatched", "snli", "scitail", "qnli", "rte"),
    {
        "ESIM + ELMo (5x)": (None, None, 89.3, None, None, None),
        "CAFE (5x)": (80.2, 79.0, 89.3, None, None, None),
        "Stochastic Answer Network (3x)": (80.6, 80.1, None, None, None, None),
        "CAFE": (78.7, 77.9, 88.5, 83.3, None, None),
        "GenSen": (71.4, 71.3, None, None, 82.3, 59.2),
        "Multi-task BiLSTM + Attn": (72.2, 72.1, None, None, 82.1, 61.7),
        OURS: (82.1, 81.4, 89.9, 88.3, 88.1, 56.0),
    },
)

TABLE3 = Published(
    3,
    "question answering and commonsense (accuracy, %)",
    ("storycloze", "race_middle", "race_high", "race"),
    {
        "val-LS-skip": (76.5, None, None, None),
        "Hidden Coherence Model": (77.6, None, None, None),
        "Dynamic Fusion Net (9x)": (None, 55.6, 49.4, 51.2),
        "BiAttention MRU (9x)": (None, 60.2, 50.3, 53.3),
        OURS: (86.5, 62.9, 57.4, 59.0),
    },
)

TABLE4 = Published(
    4,
    "classification and similarity (%)",
    ("cola", "sst2", "mrpc", "stsb", "qqp", "glue"),
    {
        "Sparse byte mLSTM": (None, 93.2, None, None, None, None),
        "TF-KLD": (None, None, 86.0, None, None, None),
        "ECNU (mixed ensemble)": (None, None, None, 81.0, None, None),
        "Single-task BiLSTM + ELMo + Attn": (35.0, 90.2, 80.2, 55.5, 66.1, 64.8),
        "Multi-task BiLSTM + ELMo + Attn": (18.9, 91.6, 83.5, 72.8, 63.3, 68.9),
        OURS: (45.4, 91.3, 82.3, 82.0, 70.3, 72.8),
    },
)

TABLE5 = Published(
    5,
    "ablations (%)",
    ("avg", "cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"),
    {
        FULL: (74.7, 45.4, 91.3, 82.3, 82.0, 70.3, 81.8, 88.1, 56.0),
        NO_PRETRAINING: (59.9, 18.9, 84.0, 79.4, 30.9, 65.5, 75.7, 71.2, 53.8),
        NO_AUX: (75.0, 47.9, 92.0, 84.9, 83.2, 69.8, 81.1, 86.9, 54.4),
        LSTM: (69.1, 30.3, 90.5, 83.2, 71.8, 68.1, 73.7, 81.1, 54.6),
    },
)

SETS: tuple[str, ...] = TABLE5.columns[1:]
"""The data sets of table 5."""
FURTHER: tuple[str, ...] = ("snli", "scitail", "race", "storycloze")
"""The paper's data sets that are not in its table 5."""


def figure(data: str, variant: str = FULL) -> float | None:
    """Return the paper's figure for a data set or a part of one, from any of its tables.

    >>> figure("mnli", "LSTM"), figure("race_high"), figure("race", "LSTM")
    (73.7, 57.4, None)
    """
    if data in TABLE5.columns:
        return TABLE5.figure(variant, data)
    if variant != FULL:
        return None
    figures = (table.figure(OURS, data) for table in (TABLE2, TABLE3, TABLE4))
    return next((value for value in figures if value is not None), None)


def average(variant: str, sets: Sequence[str]) -> float | None:
    """Return the mean of a variant's figures over data sets; for all eight the printed one.

    The paper prints 69.1 for the LSTM, though its figures give 69.16.

    >>> average("LSTM", SETS), average("full", ["cola", "rte"]), average("full", ["race", "snli"])
    (69.1, 50.7, 74.45)
    """
    if set(sets) == set(SETS):
        return TABLE5.figure(variant, "avg")
    values = [value for data in sets if (value := figure(data, variant)) is not None]
    return round(sum(values) / len(values), 4) if values and len(values) == len(sets) else None
