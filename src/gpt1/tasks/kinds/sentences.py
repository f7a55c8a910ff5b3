"""Words and tags in the fields of a row: lists, lists written as text, or a text with spans."""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from gpt1.errors import DataError
from gpt1.tasks.entities import split_words, tags_of_spans
from gpt1.tasks.kinds.fields import Fields


def listed(fields: Fields, name: str) -> list[Any]:
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


def span_tags(fields: Fields) -> tuple[str, ...] | None:
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
