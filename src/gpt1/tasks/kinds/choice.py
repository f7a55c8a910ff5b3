"""Multiple choice: which of several answers fits a context, or answers a question on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from gpt1.errors import DataError, counted
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.classes import ClassEvaluation
from gpt1.tasks.kinds.fields import Fields, make_example
from gpt1.tasks.spec import Example, Label
from gpt1.tasks.transforms import choices

if TYPE_CHECKING:
    from torch import Tensor

    from gpt1.model.heads import Head


@dataclass(frozen=True)
class Choice(Task):
    """A context and `answers` answers, each a sequence with one number; the label is an index."""

    answers: int

    kind = "choice"
    text_columns = ("context",)
    text_names = ("context", "answer")
    more_columns = "question, answer_0, answer_1, ..."
    sequences = staticmethod(choices)

    @classmethod
    def is_optional(cls, name: str) -> bool:
        """Return whether a column is the question, an answer, or the list of answers."""
        number = name.removeprefix("answer_")
        return name in ("question", "answers") or (number != name and number.isdigit())

    @classmethod
    def required_columns(cls, present: Collection[str], *, labelled: bool) -> list[str]:
        """Return the context and, without a list of answers, two of them."""
        answers = [] if "answers" in present else ["answer_0", "answer_1"]
        return ["context", *answers, *["label"] * labelled]

    @classmethod
    def read(cls, fields: Fields, num_texts: int | None, *, labelled: bool) -> Example | str:
        """Return the example of a row; all must have the same number of answers."""
        context, answers, where = fields["context"], _answers(fields), fields.where
        count = sum(answer not in ("", None) for answer in answers)
        expected = len(answers) if num_texts is None else num_texts - 1
        if expected < 2:
            raise DataError(
                f"{where}: the row has {counted(count, 'answer')}; a choice takes at least two."
            )
        if not count == len(answers) == expected:
            if not labelled:
                return "wrong number of answers"
            raise DataError(
                f"{where}: the row has {counted(count, 'answer')}; it must have {expected}, as all "
                f"rows of a task do. Correct the row, or put it in a file of its own."
            )
        question = fields.get("question") or ""
        if isinstance(question, str) and question.isspace():
            question = ""
        return make_example([context, *answers], question)

    @classmethod
    def learn(
        cls,
        examples: Sequence[Example],
        raw: Sequence[Any],
        places: Sequence[str],
        trained: Task | None = None,
    ) -> Self:
        """Return the task with as many answers as the examples have."""
        return cls(len(examples[0].texts) - 1)

    def parse_label(self, raw: Any, where: str) -> Label:
        """Return the index of the right answer. Raises DataError."""
        if raw in self.label_names:
            return self.label_names.index(raw)
        raise DataError(
            f"{where}: the label is {raw[:40]!r}; it must be the index of the right answer, 0 to "
            f"{self.answers - 1}."
        )

    def translate(self, other: Task) -> Mapping[int, int] | None:
        """Return {}, since the indices are the same; None for another number of answers."""
        return {} if isinstance(other, Choice) and other.answers == self.answers else None

    def describe(self) -> str:
        """Return what the task is, for messages."""
        return f"a choice between {self.answers} answers"

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return (): an index has no meaning to learn."""
        return ()

    @property
    def num_texts(self) -> int:
        """The context and the answers."""
        return 1 + self.answers

    @property
    def num_sequences(self) -> int:
        """A sequence for each answer."""
        return self.answers

    @property
    def num_outputs(self) -> int:
        """One number for each answer's state."""
        return 1

    @property
    def score_names(self) -> tuple[str, ...]:
        """answer_0, answer_1, ..."""
        return tuple(f"answer_{i}" for i in range(self.answers))

    @property
    def label_names(self) -> tuple[str, ...]:
        """0, 1, ..."""
        return tuple(map(str, range(self.answers)))

    def logits(self, head: Head, states: Tensor, *, shared: bool = False) -> Tensor:
        """Return logits (n, answers) of states (n, answers, C) (spec 4.3.2)."""
        logits: Tensor = head(states, shared=shared).squeeze(-1)
        return logits

    def answer(self, decision: Any) -> int:
        """Return the index of the answer."""
        return int(decision)

    def measure(
        self, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> ChoiceEvaluation:
        """Return the accuracy and the confusions of the answers' indices."""
        return ChoiceEvaluation.of(self, examples, probabilities, metrics)

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return the context, the question if there is one, and the answers."""
        context, *answers = example.texts
        question = [("question", example.question)] if example.question else []
        return [("context", context), *question, *zip(self.score_names, answers, strict=True)]


class ChoiceEvaluation(ClassEvaluation):
    """Results of a choice: its classes are the answers' indices."""

    baseline_label = "accuracy, always saying the most frequent answer"


def _answers(fields: Fields) -> list[Any]:
    """Return the answers of a row, from a list or from columns. Raises DataError."""
    if "answers" in fields:
        answers = fields["answers"]
        if not isinstance(answers, list):
            raise DataError(f'{fields.where}: "answers" must be a list of texts.')
        return answers
    answers = []
    while (name := f"answer_{len(answers)}") in fields:
        answers.append(fields[name])
    return answers
