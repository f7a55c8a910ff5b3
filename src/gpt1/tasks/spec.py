"""What a task is: its kind, its classes, and the examples it is taught with.

| kind | texts of an example | label |
| --- | --- | --- |
| classification | (text,) | index of the class |
| entailment | (premise, hypothesis) | index of the class |
| similarity | (text_a, text_b), in no order | index of the class |
| regression | (text_a, text_b), in no order | a score between `scale`'s ends |
| choice | (context, answer_0, answer_1, ...) | index of the right answer |
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from gpt1.errors import CheckpointError

Kind = Literal["classification", "entailment", "similarity", "regression", "choice"]
KINDS: tuple[Kind, ...] = get_args(Kind)

START, DELIMITER, EXTRACT = "_start_", "_delimiter_", "_classify_"
SPECIAL = (START, DELIMITER, EXTRACT)
"""Added behind the vocabulary in this order (spec 2.7.1); text never gives them."""

ANCHORS = 6
"""Points of a regression's scale that the head gives a probability to (spec 4.6)."""


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


@dataclass(frozen=True)
class Example:
    """One row of a task; `question` stands between context and answer (spec 5.1), choice only."""

    texts: tuple[str, ...]
    label: int | float | None = None
    question: str = ""


@dataclass(frozen=True)
class Task:
    """What the head's outputs mean.

    classes: names in the order of the outputs; answers: how many, for choice alone; scale: lowest
    and highest score, for regression alone; metric: what the best model is chosen by.

    >>> Task("regression", scale=(0.0, 5.0), metric="pearson").anchors
    (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    answers: int | None = None
    scale: tuple[float, float] | None = None
    metric: str = "accuracy"

    @property
    def sequences(self) -> int:
        """How many sequences an example becomes (spec 5)."""
        if self.kind == "choice":
            assert self.answers is not None
            return self.answers
        return 2 if self.kind in ("similarity", "regression") else 1

    @property
    def outputs(self) -> int:
        """How many numbers the head gives for each extract state, or for their sum."""
        if self.kind == "choice":
            return 1
        return ANCHORS if self.kind == "regression" else len(self.classes)

    @property
    def columns(self) -> int:
        """How many numbers an example's scores have."""
        return self.sequences if self.kind == "choice" else self.outputs

    @property
    def anchors(self) -> tuple[float, ...]:
        """The scores that a regression's outputs stand for, evenly from lowest to highest."""
        assert self.scale is not None
        low, high = self.scale
        return tuple(low + (high - low) * i / (ANCHORS - 1) for i in range(ANCHORS))

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON values, for gpt1.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Task:
        """Return the task whose `to_json` this is. Raises CheckpointError if it is none."""
        try:
            scale = values["scale"]
            task = cls(
                values["kind"],
                tuple(map(str, values["classes"])),
                None if values["answers"] is None else int(values["answers"]),
                None if scale is None else (float(scale[0]), float(scale[1])),
                str(values["metric"]),
            )
            sound = task.kind in KINDS and task.columns >= 2
        except (KeyError, TypeError, ValueError, IndexError, AssertionError):
            sound = False
        if not sound:
            raise CheckpointError(
                f"the section task of gpt1.json is not one that gpt1 writes: {str(values)[:80]}. "
                f"Restore the folder from a copy."
            )
        return task
