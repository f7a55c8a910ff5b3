"""An example of a task, and the special tokens around its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

START, DELIMITER, EXTRACT = "_start_", "_delimiter_", "_classify_"
SPECIAL = (START, DELIMITER, EXTRACT)
"""Added behind the vocabulary in this order (spec 2.7.1); text never gives them."""

Label = Any
"""What an example is labelled with, hashable; each class in `tasks.kinds` says what."""


@dataclass(frozen=True)
class Example:
    """One row of a task.

    question: stands between context and answer (spec 5.1), choice only. source: the text that the
    words of sequence labelling are from, if it was given as one.
    """

    texts: tuple[str, ...]
    label: Label | None = None
    question: str = ""
    source: str = ""


def label_name(label: str | int | float) -> str:
    """Return how a task calls a label: true and false as in JSON, 1.0 as 1.

    >>> label_name(True), label_name(1.0), label_name(1.5), label_name("1.0")
    ('true', '1', '1.5', '1.0')
    """
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)
