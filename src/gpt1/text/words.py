"""Text to words, in the three ways that GPT-1's users know.

original   the release: ftfy, standardise, spaCy's rules, lower case (spec 2.2)
slow       transformers up to 4: the same, but lower case first, backslashes padded, and the literal
           text `<unk>` (in any case) is the special token (spec 2.4)
fast       transformers' AutoTokenizer: BERT's normaliser and pre-tokeniser, `<unk>` as in slow but
           in lower case only (spec 2.5)

Each gives a text as lines of white-space chunks, and the words of a chunk: `chunks` caches these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from gpt1.errors import InputError
from gpt1.text.standardize import parts, repair, standardize

if TYPE_CHECKING:
    from gpt1.text.english import EnglishRules

WordsMode = Literal["original", "slow", "fast"]
WORDS_MODES: tuple[WordsMode, ...] = get_args(WordsMode)

UNKNOWN = "<unk>"
NEWLINE_CHUNK = "\n"
"""Stands between two lines of chunks; no chunk holds white space."""
UNKNOWN_CHUNK = "\n" + UNKNOWN
"""Stands for a literal `<unk>`."""

# The normaliser of fast mode drops these, which str.split takes for white space
_DROPPED_SPACES = dict.fromkeys(map(ord, "\x0b\x0c\x1c\x1d\x1e\x1f\x85"))


class Words(Protocol):
    """One way of cutting text into lower-case words."""

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the lines of `text` as lists of chunks, the two marks above in lists of their own.

        Raises InputError if the text holds half of a surrogate pair and the mode cannot repair it.
        """

    def chunk(self, chunk: str) -> Sequence[str] | None:
        """Return the words of a chunk, or None if they depend on the rest of its line."""

    def line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of all chunks of a line."""


class OriginalWords:
    """Words as the release cuts them."""

    pads_backslash = False

    @cached_property
    def _english(self) -> EnglishRules:
        from gpt1.text.english import EnglishRules  # imports spaCy

        return EnglishRules()

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the white-space chunks of `text`, line by line."""
        first = True
        for line in repair(text).split("\n"):
            chunks = line.split()
            if chunks:
                if not first:
                    yield [NEWLINE_CHUNK]
                first = False
                yield chunks

    def chunk(self, chunk: str) -> Sequence[str] | None:
        """Return the words of a chunk, None if they depend on the rest of the line."""
        if chunk.isascii() and chunk.isalpha():
            cased = self._english.chunk(chunk)
            return cased and [word.lower() for word in cased]
        words: list[str] = []
        for part in parts(chunk, backslash=self.pads_backslash):
            cased = self._english.chunk(part)
            if cased is None:
                return None
            words.extend(cased)
        return [word.lower() for word in words]

    def line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of a line of chunks."""
        return [word.lower() for word in self.cased_line(chunks)]

    def cased_line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of a line before they are lower-cased."""
        return self._english.line(
            [part for chunk in chunks for part in parts(chunk, backslash=self.pads_backslash)]
        )

    def sections(self, text: str) -> Iterator[str]:
        """Yield the cleaned text; in slow mode in parts, with `UNKNOWN_CHUNK` between them."""
        yield standardize(repair(text), backslash=self.pads_backslash)


class SlowWords(OriginalWords):
    """Words as transformers' slow tokenizer cut them."""

    pads_backslash = True

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the white-space chunks of `text`, line by line."""
        for n, section in enumerate(_lower(text).split(UNKNOWN)):
            if n:
                yield [UNKNOWN_CHUNK]
            yield from super().lines(section)

    def sections(self, text: str) -> Iterator[str]:
        """Yield the cleaned text in parts, with `UNKNOWN_CHUNK` between them."""
        for n, section in enumerate(_lower(text).split(UNKNOWN)):
            if n:
                yield UNKNOWN_CHUNK
            yield from super().sections(section)


class FastWords:
    """Words as BERT's normaliser and pre-tokeniser cut them."""

    def __init__(self) -> None:
        from tokenizers.normalizers import BertNormalizer
        from tokenizers.pre_tokenizers import BertPreTokenizer

        self._normalize = BertNormalizer(lowercase=True).normalize_str
        self._cut = BertPreTokenizer().pre_tokenize_str

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the white-space chunks of `text`, line by line."""
        for n, section in enumerate(text.split(UNKNOWN)):
            if n:
                yield [UNKNOWN_CHUNK]
            yield section.translate(_DROPPED_SPACES).split()

    def chunk(self, chunk: str) -> Sequence[str]:
        """Return the words of a chunk. Raises InputError."""
        try:
            return [word for word, _ in self._cut(self._normalize(chunk))]
        except UnicodeEncodeError as error:
            raise surrogate_error(chunk, error.start) from None

    def line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of a line of chunks."""
        return list(chain.from_iterable(map(self.chunk, chunks)))


def check_text(text: object) -> str:
    """Return `text` if it is a str, or raise InputError."""
    if not isinstance(text, str):
        raise InputError(
            f"the text is {text!r:.80}, of type {type(text).__name__}; it must be a str. "
            f"Decode bytes first; for several texts there is encode_batch."
        )
    return text


def check_texts(texts: Iterable[str]) -> Iterable[str]:
    """Return `texts` if it is not a single str, or raise InputError."""
    if isinstance(texts, str):
        raise InputError("texts is one str; it must be several. Put it into a list.")
    return texts


def surrogate_error(text: str, position: int) -> InputError:
    """Return the error for half a surrogate pair at `position`."""
    near = ascii(text[max(0, position - 20) : position + 20])
    return InputError(
        f"the text holds {text[position]!a}, half of a surrogate pair, near {near}; fast words "
        f'take whole characters only. Drop it: text.encode("utf-8", "ignore").decode()'
    )


def make_words(mode: WordsMode) -> Words:
    """Return the way of cutting named `mode`."""
    if mode == "fast":
        return FastWords()
    return SlowWords() if mode == "slow" else OriginalWords()


def _lower(text: str) -> str:
    """Lower each character by itself, as the slow tokenizer did.

    str.lower looks around one letter only: a sigma at the end of a word.

    >>> _lower("ΣΑΣ"), "ΣΑΣ".lower()
    ('σασ', 'σας')
    """
    return "".join(map(str.lower, text)) if "Σ" in text else text.lower()
