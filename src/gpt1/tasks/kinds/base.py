"""`Task`: what every kind of task defines, with the defaults that most kinds share.

A task is an instance of its kind's class; its fields are what the head's numbers mean. Whatever is
different about a kind is a method here, so that no other module asks which kind it has.
"""

from __future__ import annotations

import csv
import io
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gpt1.data.tables import text_fault
from gpt1.errors import ConfigError, DataError, InputError, counted
from gpt1.escaping import defuse
from gpt1.tasks.kinds.fields import Fields, make_example
from gpt1.tasks.kinds.going_on import GoingOn
from gpt1.tasks.metrics import METRICS, Metric, SumMetric
from gpt1.tasks.spec import Example, Label, label_name
from gpt1.tasks.transforms import Ids, Sequences, Special

if TYPE_CHECKING:
    from torch import Tensor

    from gpt1.model.heads import Head
    from gpt1.tasks.kinds.evaluation import TaskEvaluation

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
ClassWeight = str | Mapping[str, float] | None


@dataclass(frozen=True)
class Task(GoingOn):
    """What the head's numbers mean; n examples have n rows of scores unless a kind says otherwise.

    metric: the name in `metric_names` by which the best model is chosen.
    """

    metric: str = field(default="accuracy", kw_only=True)

    kind: ClassVar[str]
    """The name on the command line and in gpt1.json."""
    text_columns: ClassVar[tuple[str, ...]]
    """The columns of a table that every row must have."""
    text_names: ClassVar[tuple[str, ...]] = ("text",)
    """What the texts of an example are called, the last name being that of all further ones."""
    label_column: ClassVar[str] = "label"
    more_columns: ClassVar[str] = ""
    """Optional columns, as messages list them."""
    metric_names: ClassVar[tuple[str, ...]] = ("accuracy",)
    """The metrics that a model may be chosen by."""
    metric_functions: ClassVar[Mapping[str, Metric | SumMetric]] = METRICS
    """The metrics by name, on what `decide` returns."""
    answer_fields: ClassVar[tuple[str, ...]] = ("label", "probabilities")
    """The fields of a prediction."""
    formats: ClassVar[Mapping[str, str]] = {}
    """A file ending -> the format it is read by, where it is not the usual one."""
    output_endings: ClassVar[tuple[str, ...]] = (".csv",)
    """Endings that a file of predictions may have."""
    refuses_repeats: ClassVar[bool] = True
    """Whether training rows among the validation rows are a mistake."""
    ordered: ClassVar[bool] = True
    """Whether exchanging the texts of an example changes its meaning."""

    @classmethod
    def is_optional(cls, name: str) -> bool:
        """Return whether `name` is a column that a table may have besides those it must have."""
        return False

    @classmethod
    def required_columns(cls, present: Collection[str], *, labelled: bool) -> list[str]:
        """Return the columns that a table must have, given the standard names it has."""
        return [*cls.text_columns, *[cls.label_column] * labelled]

    @classmethod
    def read(cls, fields: Fields, num_texts: int | None, *, labelled: bool) -> Example | str:
        """Return the example of a row without its label, or a str that says why there is none.

        num_texts: that of the rows before. Raises DataError.
        """
        return make_example([fields[name] for name in cls.text_columns])

    @classmethod
    def read_label(cls, fields: Fields) -> Any:
        """Return the label as it is written, None if there is none. Raises DataError."""
        value = fields.get(cls.label_column)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, str | int | float):
            text = label_name(value)
            if text and (fault := text_fault(text)):
                raise DataError(f"{fields.where}: the label is {text!r}: {fault}. Correct the row.")
            return text or None
        what = type(value).__name__
        raise DataError(f"{fields.where}: the label is a {what}; it must be a string or a number.")

    @classmethod
    def merge_spellings(cls, raw: list[Any], notes: list[str]) -> list[Any]:
        """Return the labels, those that differ in case or blanks alone as one; `notes` says so."""
        return raw

    @abstractmethod
    def parse_label(self, raw: Any, where: str) -> Label:
        """Return a label from how it is written. Raises DataError if the task has no such label."""

    def count_labels(self, labels: Sequence[Label]) -> dict[str, int]:
        """Return how often each label occurs; {} for labels that cannot be counted."""
        counts = Counter(labels)
        return {name: counts[i] for i, name in enumerate(self.label_names)}

    @property
    def for_new_rows(self) -> Task | None:
        """The task whose labels new rows must have; None if they may have others."""
        return self

    def covering(self, examples: Sequence[Example]) -> Task:
        """Return the task widened so that it has the labels of `examples`."""
        return self

    def translate(self, other: Task) -> Mapping[int, int] | None:
        """Return where the labels of `other` are among this task's, None if they do not fit."""
        return {} if type(other) is type(self) else None

    def describe(self) -> str:
        """Return what the task is, for messages."""
        names = ", ".join(self.label_names[:8]) + (", ..." if len(self.label_names) > 8 else "")
        return f"{self.kind} with the classes {names}" if names else f"a {self.kind}"

    @classmethod
    def identity(cls, example: Example) -> tuple[str, ...]:
        """Return a key that is the same for examples that the model should not tell apart."""
        texts = [" ".join(text.casefold().split()) for text in example.texts]
        question = " ".join(example.question.casefold().split())
        return (question, *(texts if cls.ordered else sorted(texts)))

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return the classes that an example teaches; () where classes need no example."""
        return () if example.label is None else (example.label,)

    # Sequences

    @property
    def num_texts(self) -> int | None:
        """How many texts an example has; None if any number."""
        return len(self.text_columns)

    @property
    def num_sequences(self) -> int:
        """How many sequences an example becomes (spec 5)."""
        return 1

    @staticmethod
    @abstractmethod
    def sequences(
        texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
    ) -> Sequences:
        """Return an example's sequences, each at most n_ctx ids, and whether any is truncated."""

    def positions(self, texts: Sequence[Ids], rows: Sequence[Ids]) -> NDArray[np.int64]:
        """Return (units, num_sequences): which id of its sequences `rows` each unit is read at.

        A unit is what has scores of its own: the example, unless a kind says otherwise; -1 is for
        one of which nothing is left.
        """
        return np.array([[len(row) - 1 for row in rows]])

    def check(self, example: Example, ids: Sequence[Ids], number: int) -> None:
        """Raise InputError for another number of texts than the task's, or one without tokens."""
        if self.num_texts not in (None, len(example.texts)):
            raise InputError(
                f"example {number} has {counted(len(example.texts), 'text')}; this {self.kind} "
                f"takes {self.num_texts}."
            )
        for i, text in enumerate(example.texts):
            if not ids[i]:
                raise InputError(
                    f"text {i} of example {number} is {text[:40]!r}; it has no words. Leave the "
                    f"example out."
                )

    @classmethod
    def lacks_words(cls, example: Example, wordless: Collection[str], *, labelled: bool) -> bool:
        """Return whether an example cannot be used, given the texts that have no token."""
        return any(text in wordless for text in example.texts)

    # The head and the loss on its numbers

    @property
    def score_names(self) -> tuple[str, ...]:
        """What the scores are called; () where they have no names."""
        return ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """How the labels are written in a table; () where they are numbers."""
        return self.score_names

    @property
    def num_scores(self) -> int:
        """How many scores an example has."""
        return len(self.score_names)

    @property
    def num_outputs(self) -> int:
        """How many numbers the head gives for a state."""
        return self.num_scores

    def logits(self, head: Head, states: Tensor, *, shared: bool = False) -> Tensor:
        """Return logits (n, num_scores) of states (n, num_sequences, C).

        `shared`: the sequences of an example share a dropout mask, where that makes a difference.
        """
        logits: Tensor = head(states.sum(1))
        return logits

    def targets(self, example: Example) -> Array:
        """Return (units, num_scores): the right distributions, zeros without a label."""
        targets = np.zeros((1, self.num_scores))
        if example.label is not None:
            targets[0, int(example.label)] = 1
        return targets

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy (units,) of logits and targets, both (units, num_scores)."""
        return -(targets * logits.log_softmax(1)).sum(1)

    def resolve_class_weight(self, setting: ClassWeight, targets: Array) -> dict[str, float]:
        """Return the weight of each class by task.class_weight. Raises ConfigError."""
        raise ConfigError(
            f"task.class_weight is {setting!r}; a {self.kind} has no classes. Leave it out."
        )

    def class_weights(self, setting: ClassWeight, targets: Array) -> Array:
        """Return the weight of each loss, in their shape: 1 where `setting` is None."""
        return np.ones(len(targets))

    # Scores become an answer

    @property
    def usable_metrics(self) -> tuple[str, ...]:
        """The metrics that say something for the task's labels."""
        return self.metric_names

    def probabilities(self, logits: Tensor, readable: NDArray[np.bool_]) -> Array:
        """Return probabilities (units, num_scores) of logits; `readable` (units,) has no False."""
        probabilities: Array = logits.double().softmax(1).numpy()
        return probabilities

    def decide(self, probabilities: Array) -> Array:
        """Return the answer to each row of probabilities (n, num_scores), (n,): the likeliest."""
        return np.asarray(probabilities.argmax(1), np.float64)

    def compute_metric(self, targets: Array, probabilities: Array, units: Counts) -> float:
        """Return the task's metric of probabilities against targets, both (units, num_scores).

        `units` (n,) is how many units each example has.
        """
        metric = self.metric_functions[self.metric]
        return metric(self.decide(targets), self.decide(probabilities))

    def evaluate(
        self,
        examples: Sequence[Example],
        probabilities: Array,
        places: Sequence[str],
        first: Sequence[str] = (),
    ) -> TaskEvaluation:
        """Return the figures of labelled examples; `first` names metrics to give first."""
        names = [*(name for name in first if name in self.metric_names), *self.metric_names]
        evaluation = self.measure(examples, probabilities, list(dict.fromkeys(names)))
        errors = ((error, examples[error.row]) for error in evaluation.errors)
        located = tuple(
            replace(error, place=places[error.row], texts=row.shown_texts, question=row.question)
            for error, row in errors
        )
        return replace(evaluation, errors=located)

    @abstractmethod
    def measure(
        self, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> TaskEvaluation:
        """Return the figures of labelled examples; `evaluate` adds the texts of the errors."""

    @property
    def empty_record(self) -> dict[str, Any]:
        """The answer for a row that cannot be used."""
        return dict.fromkeys(self.answer_fields)

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return an answer for each example as JSON values, with the probability of every class."""
        decisions, rows = self.decide(probabilities), probabilities.round(6).tolist()
        label, scores = self.answer_fields
        return [
            {label: self.answer(decision), scores: dict(zip(self.score_names, row, strict=True))}
            for decision, row in zip(decisions, rows, strict=True)
        ]

    def answer(self, decision: Any) -> Any:
        """Return what `decide` gave for an example as a JSON value."""
        return self.label_names[int(decision)]

    def answer_text(self, answer: Any) -> str:
        """Return an answer as the text of a csv field."""
        return str(answer)

    @staticmethod
    def output_ending(source: str) -> str:
        """Return the ending of the file of predictions for the rows of `source`."""
        return ".csv"

    def format(self, records: Sequence[Mapping[str, Any]], ending: str, raw: bool = False) -> str:
        """Return records as the text of a file; empty ones have a row of empty fields.

        Labels that a spreadsheet would run as formulas begin with an apostrophe unless `raw`.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        label = self.answer_fields[0]
        writer.writerow([label, *(f"p_{name}" for name in self.score_names)])
        for record in records:
            answer = "" if record[label] is None else self.answer_text(record[label])
            scores = record.get("probabilities") or dict.fromkeys(self.score_names)
            fields = ("" if p is None else f"{p:.6f}" for p in scores.values())
            writer.writerow([answer if raw else defuse(answer), *fields])
        return text.getvalue()

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return (name, text) of each text of an example; a single one needs no name."""
        names = self.text_columns if len(example.texts) > 1 else ("",)
        return list(zip(names, example.texts, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the task as JSON values, for gpt1.json."""
        return {"kind": self.kind, **asdict(self)}
