"""spaCy's English word rules, in time linear in the length of a chunk.

The rules (exceptions, prefixes, suffixes, infixes, URLs) are spaCy's own, read from
`spacy.blank("en")` and kept in the user's cache folder, since importing spaCy takes a second. The
algorithm is that of spaCy's Tokenizer, in two stages:

1. Each white-space chunk by itself: exceptions, then prefixes and suffixes off its ends, then URLs
   and infixes.
2. Over all words of a line: a run of words that spells an exception is split as the exception says.
   spaCy matches such runs by their words alone. A run across a space changes nothing ("8 )" is no
   emoticon), but it still keeps an overlapping shorter one from being changed.

So a chunk has the same words in every context unless stage 2 changes it: `chunk` returns None for
these few, and `line` takes all chunks of a line. No run spans a newline. spaCy itself is not called
because it copies the chunk for every affix (quadratic time) and never forgets a word.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from re import Match, Pattern
from typing import Any

Words = tuple[str, ...]

# All rules but one (a run of dots) look at a few characters, so they are given a window at the ends
# of a long chunk; it grows when a match comes near its far end.
_WINDOW = 64
_NEAR = 8
_TAIL = 16
"""The first window for a suffix, which is searched for at each of its characters."""
_USER = r"(?:\S+(?::\S*)?@)?"
"""The optional user and password of spaCy's URL pattern."""
_FORMAT = 1
"""Of the file in the cache folder; to be raised when its contents or their meaning change."""


@contextmanager
def without_torch() -> Iterator[None]:
    """Import spaCy without torch, which takes 2 s and is not needed here.

    Only for gpt1's own processes: spaCy's neural models find no torch afterwards.
    """
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]


@cache
def spacys_rules() -> dict[str, Any]:
    """Return what `EnglishRules` needs, as JSON holds it, from the cache folder or from spaCy.

    A spaCy that the caller has imported may hold other rules, so it is asked and nothing is kept.
    """
    if "spacy" in sys.modules:
        return _ask_spacy()
    with suppress(OSError, ValueError, ImportError, RuntimeError):  # no file, spaCy or home folder
        checksum, _, data = _cache_file().read_bytes().partition(b"\n")
        if hashlib.sha256(data).hexdigest().encode() == checksum:
            return dict(json.loads(data))
    rules = _ask_spacy()
    data = json.dumps(rules).encode()
    with suppress(OSError, ImportError, RuntimeError):
        path = _cache_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.{os.getpid()}")
        new.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
        new.replace(path)
    return rules


def _cache_file() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return folder / "gpt1" / f"spacy-{version('spacy')}-rules-{_FORMAT}.json"


def _ask_spacy() -> dict[str, Any]:
    import spacy
    from spacy.symbols import ORTH

    tokenizer: Any = spacy.blank("en").tokenizer
    methods = {
        "prefix": tokenizer.prefix_search,
        "suffix": tokenizer.suffix_search,
        "infix": tokenizer.infix_finditer,
        "url": tokenizer.url_match,
    }
    patterns = {name: method.__self__ for name, method in methods.items()}
    rules: dict[str, Any] = {
        "patterns": {name: (found.pattern, found.flags) for name, found in patterns.items()},
        "exceptions": {
            chunk: [word[ORTH] for word in words] for chunk, words in tokenizer.rules.items()
        },
        "runs": [],
    }
    rules["runs"] = EnglishRules(rules).find_runs()
    return rules


class EnglishRules:
    """Split white-space chunks into words as spaCy's blank English tokenizer does (spec 2.2.3).

    rules: as `spacys_rules` returns them, which is the default.
    """

    def __init__(self, rules: Mapping[str, Any] | None = None) -> None:
        rules = spacys_rules() if rules is None else rules
        self._patterns: Mapping[str, tuple[str, int]] = rules["patterns"]
        self._rules: dict[str, Words] = {
            chunk: tuple(words) for chunk, words in rules["exceptions"].items()
        }
        self._longest = max(map(len, self._rules))
        runs: dict[Words, list[Words]] = defaultdict(list)  # by their first word or two
        for run in map(tuple, rules["runs"]):
            runs[run[:2]].append(run)
        self._runs = dict(runs)
        self._tail_suffix = lru_cache(1 << 12)(self._find_suffix)
        self._cached = lru_cache(1 << 16)(self._chunk)

    # Compiling all of them takes a tenth of a second, and plain words need none
    @cached_property
    def _prefix(self) -> Callable[[str], Match[str] | None]:
        return self._compile("prefix").search

    @cached_property
    def _suffix(self) -> Callable[[str], Match[str] | None]:
        return self._compile("suffix").search

    @cached_property
    def _infixes(self) -> Callable[[str], Iterator[Match[str]]]:
        return self._compile("infix").finditer

    @cached_property
    def _url(self) -> Callable[[str], Match[str] | None]:
        return self._compile("url").match

    @cached_property
    def _url_without_user(self) -> Callable[[str], Match[str] | None]:
        # The part before an "@" takes quadratic time; in text without one it cannot match
        return self._compile("url", without=_USER).match

    def _compile(self, name: str, without: str = "") -> Pattern[str]:
        pattern, flags = self._patterns[name]
        return re.compile(pattern.replace(without, ""), flags)

    def chunk(self, chunk: str) -> Words | None:
        """Return the words of `chunk`, or None if they depend on the rest of its line."""
        return self._cached(chunk) if len(chunk) <= _WINDOW else self._chunk(chunk)

    def _chunk(self, chunk: str) -> Words | None:
        words = self._stage1(chunk, self._rules)
        return words if self._stage2([words]) == words else None

    def line(self, chunks: Sequence[str]) -> Words:
        """Return the words of the chunks of one line."""
        return self._stage2([self._stage1(chunk, self._rules) for chunk in chunks])

    def _stage1(self, chunk: str, rules: Mapping[str, Words]) -> Words:
        if chunk in rules:
            return rules[chunk]
        if chunk.isascii() and chunk.isalpha():
            return (chunk,)  # no affix rule matches letters alone
        start, end = 0, len(chunk)
        front: list[str] = []
        back: list[str] = []
        while start < end and not self._is_rule(chunk, start, end, rules):
            prefix = self._prefix_length(chunk, start, end)
            if prefix and self._is_rule(chunk, start + prefix, end, rules):
                front.append(chunk[start : start + prefix])
                start += prefix
                break
            suffix = self._suffix_length(chunk, start + prefix, end)
            if suffix and self._is_rule(chunk, start, end - suffix, rules):
                back.append(chunk[end - suffix : end])
                end -= suffix
                break
            if not prefix and not suffix:
                break
            if prefix:
                front.append(chunk[start : start + prefix])
                start += prefix
            if suffix:
                back.append(chunk[end - suffix : end])
                end -= suffix
        middle = self._middle(chunk[start:end], rules) if start < end else ()
        return (*front, *middle, *reversed(back))

    def _is_rule(self, chunk: str, start: int, end: int, rules: Mapping[str, Words]) -> bool:
        return 0 < end - start <= self._longest and chunk[start:end] in rules

    def _prefix_length(self, chunk: str, start: int, end: int) -> int:
        width = _WINDOW
        while match := self._prefix(chunk[start : min(end, start + width)]):
            if start + width >= end or match.end() < width - _NEAR:
                return match.end() - match.start()
            width *= 2
        return 0

    def _suffix_length(self, chunk: str, start: int, end: int) -> int:
        width = _TAIL
        length = self._tail_suffix(chunk[max(start, end - width) : end])
        while length > width - _NEAR and start + width < end:
            width *= 2
            length = self._find_suffix(chunk[max(start, end - width) : end])
        return length

    def _find_suffix(self, text: str) -> int:
        match = self._suffix(text)
        return match.end() - match.start() if match else 0

    def _middle(self, text: str, rules: Mapping[str, Words]) -> Words:
        """Split what is left between prefixes and suffixes."""
        if text in rules:
            return rules[text]
        if "." in text and (self._url if "@" in text else self._url_without_user)(text):
            return (text,)
        words: list[str] = []
        start = 0
        for match in self._infixes(text):
            if match.start() == 0:
                continue
            if match.start() != start:
                words.append(text[start : match.start()])
            if match.start() != match.end():
                words.append(match.group())
            start = match.end()
        if start < len(text):
            words.append(text[start:])
        return tuple(words)

    def find_runs(self) -> list[Words]:
        """Return the runs of words that spell an exception.

        spaCy only looks for exceptions that match some affix rule.
        """
        return [
            self._stage1(chunk, {})
            for chunk in self._rules
            if self._prefix(chunk) or self._suffix(chunk) or any(self._infixes(chunk))
        ]

    def _stage2(self, chunks: Sequence[Words]) -> Words:
        words = [word for chunk in chunks for word in chunk]
        if len(words) == 1 and tuple(words) not in self._runs:
            return tuple(words)
        matches = [
            (start, start + len(run))
            for start in range(len(words))
            for n in (1, 2)
            for run in self._runs.get(tuple(words[start : start + n]), ())
            if len(run) == n or (n == 2 and tuple(words[start : start + len(run)]) == run)
        ]
        if not matches:
            return tuple(words)
        chunk_of = [n for n, chunk in enumerate(chunks) for _ in chunk]
        changes: dict[int, int] = {}
        covered: set[int] = set()
        # The longest first, then the leftmost; one that is not chosen blocks shorter ones too
        for start, end in sorted(matches, key=lambda match: (match[0] - match[1], match[0])):
            if (
                start not in covered
                and end - 1 not in covered
                and chunk_of[start] == chunk_of[end - 1]
            ):
                changes[start] = end
            covered.update(range(start, end))
        result: list[str] = []
        position = 0
        while position < len(words):
            end = changes.get(position, position + 1)
            run = words[position:end]
            result.extend(self._rules["".join(run)] if position in changes else run)
            position = end
        return tuple(result)
