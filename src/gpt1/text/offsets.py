"""Find where in the text each token comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpt1.text.bpe import BPE
from gpt1.text.pre_tokenizers import UNKNOWN_CHUNK, OriginalPreTokenizer

Span = tuple[int, int]


@dataclass(frozen=True)
class Encoding:
    """A text's ids, with the vocabulary's tokens and their (start, end) positions in `text`.

    `text` is what was split into words: the cleaned text in original mode (before lower-casing) and
    in slow mode, the input itself in fast mode. text[start:end], lower-cased, is the token without
    `</w>`. But tokens share a character that lower-casing turns into two (U+0130), and in fast mode
    the slice still has the accents and characters that the normalizer drops.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[Span]
    text: str


def locate(
    pre_tokenizer: OriginalPreTokenizer, text: str, bpe: BPE, *, newline: int, unknown: int
) -> tuple[str, list[tuple[int, Span]]]:
    """Return the cleaned text and the (id, offsets) of its tokens, in original or slow mode."""
    cleaned = ""
    located: list[tuple[int, Span]] = []
    for section in filter(None, pre_tokenizer.sections(text)):
        if cleaned:
            cleaned += " "
        start = len(cleaned)
        cleaned += section.strip()
        if section == UNKNOWN_CHUNK:
            located.append((unknown, (start, len(cleaned))))
            continue
        for n, line in enumerate(section.split("\n")):
            if n:
                start = cleaned.index("\n", start) + 1
                located.append((newline, (start - 1, start)))
            for word in pre_tokenizer.cased_line(line.split()):
                start = cleaned.index(word, start)
                located.extend(_pieces(word, start, bpe))
                start += len(word)
    return cleaned, located


def _pieces(word: str, position: int, bpe: BPE) -> Iterator[tuple[int, Span]]:
    lower = word.lower()
    origin = [n for n, character in enumerate(word, position) for _ in character.lower()]
    for id, start, end in bpe.pieces(lower):
        yield id, (origin[start], origin[end - 1] + 1)
