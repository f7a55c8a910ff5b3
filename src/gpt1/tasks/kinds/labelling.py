"""Sequence labelling: a tag for each word of a sentence, such as names of persons and places."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gpt1.data.tables import text_fault
from gpt1.errors import DataError, InputError, counted
from gpt1.tasks.bootstrap import bootstrap
from gpt1.tasks.entities import (
    OUTSIDE,
    entities,
    entity_f1,
    split_words,
    tags_of_spans,
    usual_metric,
)
from gpt1.tasks.kinds import evaluation
from gpt1.tasks.kinds.base import Array, Task
from gpt1.tasks.kinds.classes import ClassTask, classes_fault
from gpt1.tasks.kinds.fields import Fields
from gpt1.tasks.metrics import SumMetric, share_of_sums
from gpt1.tasks.spec import Example, Label, fold_name, label_name
from gpt1.tasks.transforms import Ids, sentence

if TYPE_CHECKING:
    from torch import Tensor


def _count_words(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Array:
    """Return (sentences, 2): words with the right tag, and words."""
    pairs = zip(gold, predicted, strict=True)
    return np.array([(sum(map(str.__eq__, g, p)), len(g)) for g, p in pairs], np.float64)


_METRICS = {"entity_f1": entity_f1, "token_accuracy": SumMetric(_count_words, share_of_sums)}


@dataclass(frozen=True)
class SequenceLabelling(ClassTask):
    """A tag of `classes` for each word; the label is the tags as a tuple.

    The sentence is one sequence, start words extract, as a text of classification is, so that the
    model reads what it reads in other tasks. The state at the last piece of each word goes into the
    head. The loss is the mean over all words of a batch of their cross-entropies. Words behind the
    window, and words of which the tokenizer leaves nothing, do not count and are predicted as O.
    """

    metric: str = field(default="entity_f1", kw_only=True)

    kind = "sequence-labelling"
    text_columns = ("tokens",)
    label_column = "tags"
    more_columns = "or text, spans"
    metric_names = tuple(_METRICS)
    metric_functions = _METRICS
    output_endings = (".conll", ".txt", ".tsv", ".jsonl")
    refuses_repeats = False  # every corpus has some sentences twice, such as bylines
    num_texts: ClassVar[None] = None
    answer_fields = ("text", "tokens", "tags", "spans")
    sequences = staticmethod(sentence)
    formats: ClassVar[Mapping[str, str]] = {".txt": "conll", ".tsv": "conll", "*": "conll"}

    # A file's sentences

    @classmethod
    def is_optional(cls, name: str) -> bool:
        """Return whether a column is one of a text with spans."""
        return name in ("text", "spans")

    @classmethod
    def required_columns(cls, present: Collection[str], *, labelled: bool) -> list[str]:
        """Return tokens and tags; text and spans where there are no tokens but a text."""
        as_text = "tokens" not in present and "text" in present
        columns = ["text", "spans"] if as_text else ["tokens", "tags"]
        return columns if labelled else columns[:1]

    @classmethod
    def read(cls, fields: Fields, num_texts: int | None, *, labelled: bool) -> Example | str:
        """Return the words of a row, or why there are none, as a str."""
        source = ""
        if "tokens" in fields or "text" not in fields:
            words = list(map(str, fields.items("tokens")))
        else:
            source = fields["text"]
            if not isinstance(source, str):
                return "not text"
            words = [source[start:end] for start, end in split_words(source)]
        return text_fault(source or "".join(words)) or Example(tuple(words), source=source)

    @classmethod
    def read_label(cls, fields: Fields) -> tuple[str, ...] | None:
        """Return the tags of a row's words. Raises DataError if there are not as many."""
        if "tokens" not in fields and "text" in fields:
            return _span_tags(fields)
        if fields.get("tags") is None:
            return None
        words, tags = fields.items("tokens"), fields.items("tags")
        if len(words) != len(tags):
            raise DataError(
                f"{fields.where}: the sentence has {counted(len(words), 'word')} and "
                f"{counted(len(tags), 'tag')}; each word must have one. Correct the row."
            )
        if None in tags:
            raise DataError(
                f"{fields.where}: {words[tags.index(None)]!r} stands alone; a line must be a word "
                f"and its tag, with a tab or blanks between them. Correct the sentence."
            )
        return tuple(label_name(tag) or OUTSIDE for tag in tags)

    @classmethod
    def learn(
        cls,
        examples: Sequence[Example],
        raw: Sequence[Any],
        places: Sequence[str],
        trained: Task | None = None,
    ) -> Self:
        """Return the task with the tags that occur, O first. Raises DataError."""
        counts = Counter(tag for tags in raw for tag in tags if tag != OUTSIDE)
        task = cls((OUTSIDE, *sorted(counts)), metric=usual_metric(counts)).going_on(trained)
        if len(task.classes) == 1:
            raise DataError(
                f"{places[0]}: every word has the tag {OUTSIDE}; there is nothing to learn. Is the "
                f"tag the last column?"
            )
        if fault := classes_fault(len(counts), counts.total()):
            raise DataError(
                f"{places[0]}: the tags are {', '.join(raw[0])[:60]}, and {fault}. The tag must be "
                f"the last column."
            )
        return task

    def parse_label(self, raw: Any, where: str) -> Label:
        """Return the tags, spelled as the task's; those that it lacks can only be missed."""
        spelled = {fold_name(name): name for name in self.classes}
        return tuple(t if t in self.classes else spelled.get(fold_name(t), t) for t in raw)

    def covering(self, examples: Sequence[Example]) -> Self:
        """Return the task with the tags of `examples` as well."""
        tags = {tag for example in examples for tag in example.label or ()}
        return replace(self, classes=(*self.classes, *sorted(tags - {*self.classes})))

    def going_on(self, trained: Task | None) -> Self:
        """Return this task with the tags of `trained` as well, if they share an entity's."""
        if trained is None or (self.classes[1:] and not self.rows_of(trained).keys() - {0}):
            return self
        task = super().going_on(trained)
        return replace(task, metric=usual_metric(task.classes))

    def count_labels(self, labels: Sequence[Label]) -> dict[str, int]:
        """Return how many words have each tag."""
        return dict(Counter(chain(*labels)).most_common())

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return the tags of an example."""
        return example.label or ()

    # Words and their states

    def positions(self, texts: Sequence[Ids], rows: Sequence[Ids]) -> NDArray[np.int64]:
        """Return where the last piece of each word is, (words, 1); -1 if it is not there."""
        lengths = np.array([len(ids) for ids in texts])
        ends, last = np.cumsum(lengths), len(rows[0]) - 2
        positions = np.where((lengths > 0) & (ends <= last), ends, -1)
        if last and (positions < 0).all():  # the first word alone is longer than the window
            positions[np.flatnonzero(lengths)[0]] = last
        return positions[:, None]

    def check(self, example: Example, ids: Sequence[Ids], number: int) -> None:
        """Raise InputError for a sentence without words, or with another number of tags."""
        words, tags = len(example.texts), example.label
        if not words or (tags is not None and len(tags) != words):
            raise InputError(
                f"example {number} has {counted(words, 'word')} and "
                f"{counted(0 if tags is None else len(tags), 'tag')}; give each word a tag."
            )

    @classmethod
    def lacks_words(cls, example: Example, wordless: Collection[str], *, labelled: bool) -> bool:
        """Return whether no word can teach anything; to be predicted, any sentence will do."""
        return labelled and all(word in wordless for word in example.texts)

    def targets(self, example: Example) -> Array:
        """Return (words, tags): 1 for the right tag, zeros for one that the task does not have."""
        targets = np.zeros((len(example.texts), len(self.classes)))
        for row, tag in zip(targets, example.label or (), strict=bool(example.label)):
            row[[i for i, name in enumerate(self.classes) if name == tag]] = 1
        return targets

    # Scores become tags

    def probabilities(self, logits: Tensor, readable: NDArray[np.bool_]) -> Array:
        """Return the probability of each tag, (words, tags); O is sure for words not read."""
        probabilities = super().probabilities(logits, readable)
        probabilities[~readable] = np.eye(len(self.classes))[self.classes.index(OUTSIDE)]
        return probabilities

    def tags(self, probabilities: Array, counts: Iterable[int]) -> Iterator[list[str]]:
        """Yield the tags of each sentence, given how many words each has."""
        names = np.array(self.classes)[probabilities.argmax(1)].tolist()
        start = 0
        for count in counts:
            yield names[start : start + count]
            start += count

    def compute_metric(
        self, targets: Array, probabilities: Array, units: NDArray[np.int64]
    ) -> float:
        """Return the task's metric of probabilities against targets, both (words, tags)."""
        gold, predicted = (list(self.tags(p, units)) for p in (targets, probabilities))
        return _METRICS[self.metric](gold, predicted)

    def measure(
        self, examples: Sequence[Example], probabilities: Array, metrics: list[str]
    ) -> LabellingEvaluation:
        """Return entity F1, token accuracy, figures per type of entity and calibration."""
        gold = [list(example.label or ()) for example in examples]
        predicted = list(self.tags(probabilities, map(len, gold)))
        confidence = probabilities.max(1)
        right = np.array([g == p for g, p in zip(chain(*gold), chain(*predicted), strict=True)])
        wrong: list[tuple[float, int]] = []
        start = 0
        for i, tags in enumerate(gold):
            words = slice(start, start := start + len(tags))
            if not right[words].all():
                wrong.append((float(confidence[words][~right[words]].max()), i))
        wrong.sort(key=lambda error: (-error[0], error[1]))
        in_gold, in_predicted = ([set(entities(tags)) for tags in x] for x in (gold, predicted))
        in_both = [g & p for g, p in zip(in_gold, in_predicted, strict=True)]
        hits, rows, predictions = (
            Counter(name for name, *_ in chain(*sets)) for sets in (in_both, in_gold, in_predicted)
        )
        types = sorted(rows | predictions)
        counts = ([counter[name] for name in types] for counter in (hits, rows, predictions))
        return LabellingEvaluation(
            task=self,
            rows=len(examples),
            metrics={name: bootstrap(_METRICS[name], gold, predicted) for name in metrics},
            baseline=Counter(chain(*gold)).most_common(1)[0][1] / len(right),
            classes=evaluation.class_figures(types, *counts),
            bins=evaluation.calibration_bins(confidence, right),
            words=len(right),
            wrong=len(wrong),
            errors=[
                evaluation.Mistake(
                    row=i,
                    gold=_entity_text(examples[i], gold[i]),
                    predicted=_entity_text(examples[i], predicted[i]),
                    confidence=sure,
                )
                for sure, i in wrong[: evaluation.ERRORS]
            ],
        )

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return words, tags, and the entities as spans of characters of the text.

        The text of words that were given as such has blanks between them.
        """
        records = []
        sentences = self.tags(probabilities, [len(example.texts) for example in examples])
        for example, tags in zip(examples, sentences, strict=True):
            words, text = list(example.texts), example.source or " ".join(example.texts)
            if example.source:
                limits = split_words(text)
            else:
                ends = np.cumsum([len(word) + 1 for word in words]) - 1
                limits = [(int(e) - len(w), int(e)) for w, e in zip(words, ends, strict=True)]
            spans = [
                {"start": limits[begin][0], "end": limits[end - 1][1], "label": name}
                for name, begin, end in entities(tags)
            ]
            records.append({"text": text, "tokens": words, "tags": tags, "spans": spans})
        return records

    @staticmethod
    def output_ending(source: str) -> str:
        """Return .jsonl for files of JSON or parquet, else .conll."""
        return ".jsonl" if any(e in source for e in (".json", ".parquet")) else ".conll"

    def format(self, records: Sequence[Mapping[str, Any]], ending: str, raw: bool = False) -> str:
        """Return answers as JSON lines, or as a word and its tag a line."""
        if ending == ".jsonl":
            return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        sentences = (zip(r["tokens"] or (), r["tags"] or (), strict=True) for r in records)
        return "".join(
            "".join(f"{word}\t{tag}\n" for word, tag in sentence) + "\n" for sentence in sentences
        )

    def named_texts(self, example: Example) -> list[tuple[str, str]]:
        """Return the sentence without a name."""
        return [("", example.source or " ".join(example.texts))]


@dataclass(frozen=True, kw_only=True)
class LabellingEvaluation(evaluation.TaskEvaluation):
    """Results of a tag for each word; the bins are over words, the classes types of entities."""

    words: int

    baseline_label = "token accuracy, always saying the most frequent tag"
    unit = "entities"
    classes_title = "Per type of entity"
    errors_note = "sentences with a wrong tag, the one with the surest wrong tag first."

    def details(self) -> dict[str, Any]:
        """Return the number of words, the figures of each type of entity and the calibration."""
        return {"words": self.words, **super().details()}


def _entity_text(example: Example, tags: Sequence[str]) -> str:
    """Return the entities of a sentence as text."""
    texts = [f"{name}: {' '.join(example.texts[b:e])}" for name, b, e in entities(tags)]
    return ", ".join(texts) or "none"


def _span_tags(fields: Fields) -> tuple[str, ...] | None:
    """Return the tags of the words of a text with spans. Raises DataError."""
    text, spans, where = fields["text"], fields["spans"], fields.where
    if spans is None or not isinstance(text, str):
        return None
    limits = []
    for span in spans if isinstance(spans, list) else [spans]:
        match span:
            case {"start": int(start), "end": int(end), "label": str(label)} if (
                0 <= start < end <= len(text)
            ):
                limits.append((start, end, label))
            case _:
                raise DataError(
                    f"{where}: a span is {str(span)[:60]}; it must be "
                    f'{{"start": 0, "end": 4, "label": "PER"}} within the '
                    f"{counted(len(text), 'character')} of the text."
                )
    try:
        return tuple(tags_of_spans(split_words(text), limits))
    except ValueError as error:
        raise DataError(
            f"{where}: {error}: a word has one tag. Correct the row, or leave one of them out."
        ) from None
