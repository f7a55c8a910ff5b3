"""An example of a task, and the special tokens around its texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SPECIAL = ("_start_", "_delimiter_", "_classify_")
"""The start, delimiter and extract tokens, added behind the vocabulary in this order (spec 2.7.1).

No text is encoded to them."""

Label = Any
"""The label of an example, hashable; each class in `tasks.kinds` says of what type."""


@dataclass(frozen=True)
class Example:
    """One row of a task.

    question: stands between context and answer (spec 5.1), for choice only. source: the text that
    the words of sequence labelling are from, if it was given as one.
    """

    texts: tuple[str, ...]
    label: Label | None = None
    question: str = ""
    source: str = ""


def label_name(label: str | int | float) -> str:
    """Return the name of a label: true and false as in JSON, 1 for 1.0.

    >>> label_name(True), label_name(1.0), label_name(1.5), label_name("1.0")
    ('true', '1', '1.5', '1.0')
    """
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)
