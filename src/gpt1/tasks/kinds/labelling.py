"""Sequence labelling: a tag for each word of a sentence, such as names of persons and places."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from gpt1.data.formats import ReadOptions
from gpt1.errors import DataError, InputError
from gpt1.reports.sections import Section
from gpt1.tasks.bootstrap import bootstrap_sums
from gpt1.tasks.entities import OUTSIDE, entities, has_entities, split_words, tags_of_spans
from gpt1.tasks.kinds import evaluation
from gpt1.tasks.kinds.base import Array, Fields, Task
from gpt1.tasks.kinds.classes import check_class_names, classes_fault
from gpt1.tasks.metrics import f1_of_sums, share_of_sums
from gpt1.tasks.spec import Example, Label, label_name
from gpt1.tasks.transforms import Ids, Special, words_in_a_row

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SequenceLabelling(Task):
    """A tag of `classes` for each word; the label is the tags as a tuple.

    The sentence is one sequence, start words extract, as a text of classification is, so that the
    model reads what it reads in other tasks. The state at the last piece of each word goes into the
    head. The loss is the mean over all words of a batch of their cross-entropies. Words behind the
    window, and words of which the tokenizer leaves nothing, do not count and are predicted as O.
    """

    classes: tuple[str, ...]
    metric: str = field(default="entity_f1", kw_only=True)

    kind = "sequence-labelling"
    text_columns = ("tokens",)
    label_column = "tags"
    more_columns = "or text, spans"
    metric_names = ("entity_f1", "token_accuracy")
    output_endings = (".conll", ".txt", ".tsv", ".jsonl")
    num_texts: ClassVar[None] = None
    read_options = ReadOptions(endings={".txt": ".conll", ".tsv": ".conll"}, otherwise=".conll")

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
        """Return the words of a row; a str is why there are none."""
        source = ""
        if "tokens" in fields or "text" not in fields:
            words = [str(word) for word in _listed(fields, "tokens")]
        else:
            source = fields["text"]
            if not isinstance(source, str):
                return "not text"
            words = [source[start:end] for start, end in split_words(source)]
        text = source or "".join(words)
        if not words:
            return "empty"
        if "\0" in text:
            return "NUL character"
        if any("\ud800" <= character <= "\udfff" for character in text):
            return "lone surrogate"
        return Example(tuple(words), source=source)

    @classmethod
    def read_label(cls, fields: Fields) -> tuple[str, ...] | None:
        """Return the tags of a row's words. Raises DataError if there are not as many."""
        if "tokens" not in fields and "text" in fields:
            return _tags_of_spans(fields)
        if fields.get("tags") is None:
            return None
        words, tags = _listed(fields, "tokens"), _listed(fields, "tags")
        if len(words) != len(tags):
            raise DataError(
                f"{fields.place}: the sentence has {len(words)} words and {len(tags)} tags; each "
                f"word must have one. Correct the row."
            )
        if None in tags:
            raise DataError(
                f"{fields.place}: {words[tags.index(None)]!r} stands alone; a line must be a word "
                f"and its tag, with a tab or blanks between them. Correct the sentence."
            )
        return tuple(label_name(tag).strip() or OUTSIDE for tag in tags)

    @classmethod
    def learn(cls, examples: Sequence[Example], raw: Sequence[Any], places: Sequence[str]) -> Self:
        """Return the task with the tags that occur, O first. Raises DataError."""
        counts = Counter(tag for tags in raw for tag in tags)
        tags = sorted(counts.keys() - {OUTSIDE})
        if not tags:
            raise DataError(
                f"{places[0]}: every word has the tag {OUTSIDE}; there is nothing to learn. Is the "
                f"tag the last column?"
            )
        if fault := classes_fault(len(tags), counts.total() - counts[OUTSIDE]):
            raise DataError(
                f"{places[0]}: the tags are {', '.join(raw[0])[:60]}, and {fault}. The tag must be "
                f"the last column."
            )
        metric = "entity_f1" if has_entities(tags) else "token_accuracy"
        return cls((OUTSIDE, *tags), metric=metric)

    def parse_label(self, raw: Any, place: str) -> Label:
        """Return the tags; those that the task does not have can only be missed."""
        return raw

    def covering(self, examples: Sequence[Example]) -> Self:
        """Return the task with the tags of `examples` as well."""
        there = {tag for example in examples for tag in example.label or ()}
        return replace(self, classes=(*self.classes, *sorted(there - {*self.classes})))

    def count_labels(self, examples: Sequence[Example | None]) -> dict[str, int]:
        """Return how many words have each tag."""
        labels = [example.label or () for example in examples if example is not None]
        return dict(Counter(tag for tags in labels for tag in tags).most_common())

    def describe(self) -> str:
        """Return what the task is, for messages."""
        return f"{self.kind} with the tags {', '.join(self.classes[:8])}"

    @classmethod
    def classes_of(cls, example: Example) -> Collection[Any]:
        """Return the tags of an example."""
        return example.label or ()

    # Words and their states

    @staticmethod
    def sequences(
        texts: Sequence[Ids], special: Special, n_ctx: int, *, question: Ids = ()
    ) -> tuple[list[list[int]], bool]:
        """Return all words between the start and the extract token."""
        return words_in_a_row(texts, special, n_ctx)

    def positions(self, texts: Sequence[Ids], rows: Sequence[Ids]) -> NDArray[np.int64]:
        """Return where the last piece of each word is, (words, 1); -1 if it is not there."""
        lengths = np.array([len(ids) for ids in texts])
        ends, kept = np.cumsum(lengths), len(rows[0]) - 2
        positions = np.where((lengths > 0) & (ends <= kept), ends, -1)
        if kept and (positions < 0).all():  # the first word alone is longer than the window
            positions[np.flatnonzero(lengths)[0]] = kept
        return positions[:, None]

    def check(self, example: Example, ids: Sequence[Ids], number: int) -> None:
        """Raise InputError for a sentence without words, or with another number of tags."""
        words, tags = len(example.texts), example.label
        if not words or (tags is not None and len(tags) != words):
            raise InputError(
                f"example {number} has {words} words and {0 if tags is None else len(tags)} tags; "
                f"give each word a tag."
            )

    @classmethod
    def lacks_words(cls, example: Example, wordless: Collection[str], *, labelled: bool) -> bool:
        """Return whether no word can teach anything; to be predicted, any sentence will do."""
        return labelled and all(word in wordless for word in example.texts)

    @property
    def num_outputs(self) -> int:
        """A number for each tag."""
        return len(self.classes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """The tags."""
        return self.classes

    def targets(self, example: Example) -> Array:
        """Return (words, tags): 1 for the right tag, zeros for one that the task does not have."""
        targets = np.zeros((len(example.texts), len(self.classes)))
        for row, tag in zip(targets, example.label or (), strict=bool(example.label)):
            row[[i for i, name in enumerate(self.classes) if name == tag]] = 1
        return targets

    def class_weights(self, wanted: str | Mapping[str, float] | None, targets: Array) -> Array:
        """Return what each word counts, (words,). Raises ConfigError."""
        if wanted is None:
            weights = np.ones(len(self.classes))
        elif isinstance(wanted, Mapping):
            check_class_names(wanted, self.classes)
            weights = np.array([wanted.get(name, 1.0) for name in self.classes])
        else:
            counts = targets.sum(0)
            weights = counts.sum() / (np.count_nonzero(counts) * counts.clip(1))
        return targets @ weights

    # Scores become tags

    def probabilities(self, logits: Tensor, readable: NDArray[np.bool_]) -> Array:
        """Return the probability of each tag, (words, tags); O is sure for words not read."""
        found: Array = logits.double().softmax(1).numpy()
        found[~readable] = np.eye(len(self.classes))[self.classes.index(OUTSIDE)]
        return found

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
        gold, predicted = (list(self.tags(each, units)) for each in (targets, probabilities))
        metric, counts = _METRICS[self.metric]
        return float(metric(counts(gold, predicted).sum(0)[None])[0])

    def evaluate(
        self,
        examples: Sequence[Example],
        probabilities: Array,
        places: Sequence[str],
        first: Sequence[str] = (),
    ) -> LabellingEvaluation:
        """Return entity F1, token accuracy, figures per type of entity and calibration."""
        gold = [list(example.label or ()) for example in examples]
        predicted = list(self.tags(probabilities, [len(tags) for tags in gold]))
        right = np.array([g == p for g, p in zip(chain(*gold), chain(*predicted), strict=True)])
        confidence = probabilities.max(1)
        there, given, both = Counter[str](), Counter[str](), Counter[str]()
        wrong: list[tuple[float, int]] = []
        start = 0
        for i, pair in enumerate(zip(gold, predicted, strict=True)):
            g, p = (set(entities(tags)) for tags in pair)
            for counter, found in ((there, g), (given, p), (both, g & p)):
                counter.update(name for name, *_ in found)
            words = slice(start, start := start + len(pair[0]))
            if not right[words].all():
                wrong.append((float(confidence[words][~right[words]].max()), i))
        wrong.sort(key=lambda each: (-each[0], each[1]))
        names = sorted(there | given)
        most = Counter(tag for tags in gold for tag in tags).most_common(1)[0][1]
        order = dict.fromkeys(
            [*(n for n in first if n in self.metric_names), self.metric, *self.metric_names]
        )
        return LabellingEvaluation(
            task=self,
            rows=len(examples),
            metrics={
                name: bootstrap_sums(metric, counts(gold, predicted))
                for name in order
                for metric, counts in [_METRICS[name]]
            },
            baseline=most / len(right),
            classes=evaluation.class_figures(
                names, *([each[name] for name in names] for each in (both, there, given))
            ),
            bins=evaluation.calibration_bins(confidence, right),
            words=len(right),
            wrong=len(wrong),
            errors=tuple(
                evaluation.Mistake(
                    i, places[i], (self.named_texts(examples[i])[0][1],), "",
                    _shown(examples[i], gold[i]), _shown(examples[i], predicted[i]), sure,
                )
                for sure, i in wrong[: evaluation.ERRORS]
            ),
        )  # fmt: skip

    def records(self, examples: Sequence[Example], probabilities: Array) -> list[dict[str, Any]]:
        """Return words, tags, and the entities as spans of characters of the text.

        The text of words that were given as such has blanks between them.
        """
        records = []
        every = self.tags(probabilities, [len(example.texts) for example in examples])
        for example, tags in zip(examples, every, strict=True):
            words, text = list(example.texts), example.source or " ".join(example.texts)
            if example.source:
                places = split_words(text)
            else:
                ends = np.cumsum([len(word) + 1 for word in words]) - 1
                places = [(int(e) - len(w), int(e)) for w, e in zip(words, ends, strict=True)]
            spans = [
                {"start": places[begin][0], "end": places[end - 1][1], "label": name}
                for name, begin, end in entities(tags)
            ]
            records.append({"text": text, "tokens": words, "tags": tags, "spans": spans})
        return records

    @property
    def empty_record(self) -> dict[str, Any]:
        """The answer for a sentence that cannot be used."""
        return {"text": None, "tokens": None, "tags": None, "spans": None}

    @staticmethod
    def output_ending(source: str) -> str:
        """Return .jsonl for files of JSON or parquet, else .conll."""
        return ".jsonl" if any(e in source for e in (".json", ".parquet")) else ".conll"

    def format(self, records: Sequence[Mapping[str, Any]], ending: str) -> str:
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

    def is_sound(self) -> bool:
        """Return whether O is among the tags and there is another."""
        return OUTSIDE in self.classes and super().is_sound()


@dataclass(frozen=True, kw_only=True)
class LabellingEvaluation(evaluation.TaskEvaluation):
    """Of a tag for each word; the bins are over words, the classes are types of entities."""

    bins: tuple[evaluation.Bin, ...]
    words: int
    wrong: int
    """Sentences with any wrong tag."""

    baseline_label = "token accuracy, always saying the most frequent tag"
    unit = "entities"

    def details(self) -> dict[str, Any]:
        """Return the figures of each type of entity and the calibration."""
        return {
            "words": self.words,
            "classes": [asdict(one) for one in self.classes],
            "calibration": [asdict(one) for one in self.bins],
            "wrong": self.wrong,
        }

    def sections(self) -> list[Section]:
        """Return figures per type of entity, calibration and the most confident errors."""
        return [
            Section("Per type of entity", self.class_table(), narrow=True),
            evaluation.calibration_section(self.bins),
            self.examples_section(
                "Most confident errors",
                f"{len(self.errors):,} of {self.wrong:,} sentences with a wrong tag, that with the "
                f"surest wrong tag first.",
            ),
        ]


def _listed(fields: Fields, name: str) -> list[Any]:
    """Return a field that is a list, or a list written as text. Raises DataError."""
    value = fields[name]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value) if value.lstrip().startswith("[") else value.split()
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(
        each is None or isinstance(each, str | int | float) for each in value
    ):
        raise DataError(
            f"{fields.place}: {name} is {str(fields[name])[:40]!r}; it must be a list of texts."
        )
    return value


def _tags_of_spans(fields: Fields) -> tuple[str, ...] | None:
    """Return the tags that the spans of a text come to. Raises DataError."""
    text, spans, place = fields["text"], fields["spans"], fields.place
    if spans is None or not isinstance(text, str):
        return None
    read = []
    for span in spans if isinstance(spans, list) else [spans]:
        start, end, label = (
            (span.get("start"), span.get("end"), span.get("label"))
            if isinstance(span, dict)
            else (None, None, None)
        )
        if (
            not isinstance(start, int)
            or not isinstance(end, int)
            or not isinstance(label, str)
            or not 0 <= start < end <= len(text)
        ):
            raise DataError(
                f"{place}: a span is {str(span)[:60]}; it must be "
                f'{{"start": 0, "end": 4, "label": "PER"}} within the {len(text)} characters of '
                f"the text."
            )
        read.append((start, end, label))
    try:
        return tuple(tags_of_spans(split_words(text), read))
    except ValueError as error:
        raise DataError(
            f"{place}: {error}: a word has one tag. Correct the row, or leave one of them out."
        ) from None


def _shown(example: Example, tags: Sequence[str]) -> str:
    """Return the entities of a sentence as text."""
    found = entities(tags)
    return ", ".join(f"{name}: {' '.join(example.texts[b:e])}" for name, b, e in found) or "none"


def entity_counts(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> Array:
    """Return (sentences, 3): entities predicted rightly, those there are, those predicted."""
    rows = []
    for pair in zip(gold, predicted, strict=True):
        g, p = (set(entities(tags)) for tags in pair)
        rows.append((len(g & p), len(g), len(p)))
    return np.array(rows, np.float64)


def _count_words(gold: Sequence[list[str]], predicted: Sequence[list[str]]) -> Array:
    pairs = zip(gold, predicted, strict=True)
    return np.array([(sum(map(str.__eq__, g, p)), len(g)) for g, p in pairs], np.float64)


_METRICS = {
    "entity_f1": (f1_of_sums, entity_counts),
    "token_accuracy": (share_of_sums, _count_words),
}
"""Functions of sums, and what each sentence adds to the sums."""
