"""An example of a task, and the special tokens around its texts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

SPECIAL = ("_start_", "_delimiter_", "_classify_")
"""The start, delimiter and extract tokens, added behind the vocabulary in this order (spec 2.7.1).

No text is encoded to them."""

Label = Any
"""The label of an example, hashable; each class in `tasks.kinds` says of what type."""
_WHOLE = re.compile(r"-?\d+\.0+")


@dataclass(frozen=True)
class Example:
    """One row of a task.

    question: stands between context and answer (spec 5.1), for choice only. source: the text that
    the words of sequence labelling are from, if it was given as one. weight: how much the example
    counts in training; 2 is the same as giving it twice, 0 as leaving it out.
    """

    texts: tuple[str, ...]
    label: Label | None = None
    question: str = ""
    source: str = ""

    @property
    def shown_texts(self) -> tuple[str, ...]:
        """The texts as they were given."""
        return (self.source,) if self.source else self.texts

    weight: float = 1.0


def label_name(label: str | int | float) -> str:
    """Return the name of a label, the same from every kind of file and from Python.

    >>> label_name(True), label_name("TRUE"), label_name(1.0), label_name("1.0"), label_name(" a ")
    ('true', 'true', '1', '1', 'a')
    """
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    name = str(label).strip()
    if name.lower() in ("true", "false"):
        return name.lower()
    return name.partition(".")[0] if _WHOLE.fullmatch(name) else name


def fold_name(name: str) -> str:
    """Return what two spellings of one class have in common: case and blanks do not count."""
    return " ".join(name.casefold().split())
