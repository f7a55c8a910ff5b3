"""Text to words, in the three ways that GPT-1's users know.

original   the release: ftfy, standardize, spaCy's rules, lower case (spec 2.2)
slow       transformers up to 4: the same, but lower case first, backslashes padded, and the literal
           text `<unk>` (in any case) is the special token (spec 2.4)
fast       transformers' AutoTokenizer: BERT's normalizer and pre-tokenizer, `<unk>` as in slow but
           in lower case only (spec 2.5)

Each is a pre-tokenizer: it splits a text into lines of white-space chunks, and a chunk into words,
which `chunks` caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from gpt1.errors import InputError, did_you_mean
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

# str.split takes these for white space; the normalizer of fast mode drops them
_DROPPED_SPACES = dict.fromkeys(map(ord, "\x0b\x0c\x1c\x1d\x1e\x1f\x85"))


class PreTokenizer(Protocol):
    """A way to split text into lower-case words."""

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the lines of `text` as lists of chunks; each mark is a list of its own.

        Raises InputError if the text holds half of a surrogate pair and the mode cannot repair it.
        """

    def chunk(self, chunk: str) -> Sequence[str] | None:
        """Return the words of a chunk, or None if they depend on the rest of its line."""

    def line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of all chunks of a line."""


class OriginalPreTokenizer:
    """Split words as the release does."""

    pads_backslash = False

    @cached_property
    def _english(self) -> EnglishRules:
        from gpt1.text.english import EnglishRules  # imports spaCy

        return EnglishRules()

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the white-space chunks of `text`, line by line."""
        lines = filter(None, map(str.split, repair(text).split("\n")))
        for n, chunks in enumerate(lines):
            if n:
                yield [NEWLINE_CHUNK]
            yield chunks

    def chunk(self, chunk: str) -> Sequence[str] | None:
        """Return the words of a chunk, or None if they depend on the rest of its line."""
        words: list[str] = []
        for part in parts(chunk, backslash=self.pads_backslash):
            cased = self._english.chunk(part)
            if cased is None:
                return None
            words += map(str.lower, cased)
        return words

    def line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of a line of chunks."""
        return list(map(str.lower, self.cased_line(chunks)))

    def cased_line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of a line before lower-casing."""
        return self._english.line(
            [part for chunk in chunks for part in parts(chunk, backslash=self.pads_backslash)]
        )

    def sections(self, text: str) -> Iterator[str]:
        """Yield the cleaned text."""
        yield standardize(repair(text), backslash=self.pads_backslash)


class SlowPreTokenizer(OriginalPreTokenizer):
    """Split words as transformers' slow tokenizer did."""

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


class FastPreTokenizer:
    """Split words as BERT's normalizer and pre-tokenizer do."""

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
            near = ascii(chunk[max(0, error.start - 20) : error.start + 20])
            raise InputError(
                f"the text holds {chunk[error.start]!a}, half of a surrogate pair, near {near}; "
                f"fast words need whole characters. Drop it: "
                f'text.encode("utf-8", "ignore").decode()'
            ) from None

    def line(self, chunks: Sequence[str]) -> Sequence[str]:
        """Return the words of a line of chunks."""
        return list(chain.from_iterable(map(self.chunk, chunks)))


def check_text(text: object, name: str = "the text") -> str:
    """Return `text` if it is a str, or raise InputError, which calls it `name`."""
    if not isinstance(text, str):
        raise InputError(
            f"{name} is {text!r:.80}, of type {type(text).__name__}; it must be a str. "
            f"Decode bytes first; encode several texts with encode_batch."
        )
    return text


def check_texts(texts: Iterable[str]) -> Iterator[str]:
    """Iterate over `texts`, checked; raise InputError at once if they are no list or column."""
    if isinstance(texts, str):
        raise InputError("texts is a single str; put it into a list.")
    is_table = hasattr(texts, "columns") or hasattr(texts, "column_names")  # whose items are names
    if is_table or isinstance(texts, Mapping) or not isinstance(texts, Iterable):
        what = f"a {type(texts).__name__}"
        raise InputError(f"texts is {what}; give a list of texts, or the column that holds them.")
    return (
        text if isinstance(text, str) else check_text(text, f"texts[{i}]")
        for i, text in enumerate(texts)
    )


def make_pre_tokenizer(mode: WordsMode) -> PreTokenizer:
    """Return the pre-tokenizer of a mode."""
    if mode == "fast":
        return FastPreTokenizer()
    return SlowPreTokenizer() if mode == "slow" else OriginalPreTokenizer()


def check_words(words: object) -> WordsMode:
    """Return `words` if it names a mode, or raise InputError."""
    for mode in WORDS_MODES:
        if words == mode:
            return mode
    nearest = did_you_mean(str(words), WORDS_MODES)
    raise InputError(f"words is {words!r}; there are {', '.join(WORDS_MODES)}.{nearest}")


def _lower(text: str) -> str:
    """Lower-case each character by itself, as the slow tokenizer did.

    It differs from str.lower for a sigma at the end of a word.

    >>> _lower("ΣΑΣ"), "ΣΑΣ".lower()
    ('σασ', 'σας')
    """
    return "".join(map(str.lower, text)) if "Σ" in text else text.lower()
