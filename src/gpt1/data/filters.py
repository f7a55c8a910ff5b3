"""What a corpus holds that a model should not read: duplicates, noise, other languages.

Documents are compared by runs of 13 tokens, without `<unk>` and newlines, so that neither white
space nor case nor a licence in front hides a copy. Each run is hashed, and hashes below a bound are
kept: 1 in `every` of all runs, the same in every document. The bound is halved whenever more than
MOST_RUNS are kept, so memory stays the same however long the corpus is, but for a hash of each
document. Documents are judged in their order by one process: the result depends on nothing else.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt1.errors import counted
from gpt1.text.tokenizer import IdArray, Tokenizer

RUN = 13
"""Tokens in a row that count as overlap, as is usual for language models."""
MOST_RUNS = 1 << 19
"""Hashes kept, some 40 MB; of more runs a sample."""
_LEAST_RUNS = 8  # of a document: fewer of a sample say nothing about it
_BATCH = 1 << 16  # tokens hashed at a time
_LISTED, _LEAST_LISTED = 3, 100  # documents named for few bytes a token, and their least tokens
_FACTOR = 0x9E3779B97F4A7C15  # any odd number without a pattern
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Filters:
    """Which documents are dropped; by default none.

    drop_duplicates: those that are, byte for byte, an earlier one or one of the validation set.
    max_overlap: those of which a larger share of the runs of 13 tokens is in an earlier document
    that was kept, or in the validation set. max_unknown: those with a larger share of characters
    that the vocabulary lacks. min_bytes_per_token: those with fewer bytes of UTF-8 a token, such as
    other languages (half of the usual) and broken text.
    """

    drop_duplicates: bool = False
    max_overlap: float | None = None
    max_unknown: float | None = None
    min_bytes_per_token: float | None = None


class Document(NamedTuple):
    """A text on its way into shards: where it is from, its sizes, and a hash of its bytes."""

    place: str
    characters: int
    bytes: int
    hash: int

    @classmethod
    def of(cls, text: str, place: str) -> Document:
        """Measure a text."""
        data = text.encode()
        digest = hashlib.blake2b(data, digest_size=8).digest()
        return cls(place, len(text), len(data), int.from_bytes(digest, "little"))


@dataclass(frozen=True)
class Quality:
    """The shares of a corpus that filters look at, before any document is dropped.

    duplicates: documents that are an earlier one. overlap: the share of all runs of 13 tokens that
    is in an earlier document; overlapping: documents of which that is over half. valid_duplicates,
    valid_overlap: the same against the validation set, None without one. unknown: the share of
    characters that the vocabulary lacks. every: the overlap is that of 1 in `every` runs; short:
    documents with too few runs of these. fewest_bytes: place -> bytes a token, of the lowest.
    """

    duplicates: int = 0
    overlap: float = 0.0
    overlapping: int = 0
    valid_duplicates: int | None = None
    valid_overlap: float | None = None
    unknown: float = 0.0
    every: int = 1
    short: int = 0
    fewest_bytes: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        same = counted(self.duplicates, "exact duplicate")
        half = counted(self.overlapping, "document")
        sample = f", by 1 in {self.every} of them" if self.every > 1 else ""
        short = f"; {counted(self.short, 'document')} too short for that" if self.short else ""
        lines = [
            f"duplicates: {same}; {self.overlap:.1%} of the text is in an earlier document (runs "
            f"of {RUN} tokens{sample}), over half of {half}{short}",
            f"unknown characters: {self.unknown:.2%}",
        ]
        if self.valid_overlap is not None:
            same = counted(self.valid_duplicates or 0, "document")
            lines.insert(
                1, f"validation set: holds {same} and {self.valid_overlap:.1%} of the text"
            )
        if self.fewest_bytes:
            lowest = sorted(self.fewest_bytes.items(), key=lambda item: item[1])
            listed = ", ".join(f"{value:.2f} in {place}" for place, value in lowest)
            lines.append(f"fewest bytes a token: {listed}")
        return "\n".join(lines)


class Screen:
    """Judge documents in their order: `kept` yields those to use; the rest is in `dropped`."""

    def __init__(self, tokenizer: Tokenizer, filters: Filters | None = None) -> None:
        self.filters = filters or Filters()
        self.dropped: list[dict[str, Any]] = []
        """A row for each dropped document: its place, the reason, and the share if there is one."""
        self._unknown_id, self._newline_id = tokenizer.unknown_id, tokenizer.newline_id
        self._values = np.random.PCG64(0).random_raw(len(tokenizer))
        self._seen = _Known()
        self._valid: _Known | None = None
        self._totals: defaultdict[str, float] = defaultdict(float)
        self._fewest: dict[str, float] = {}

    def hold_out(self, encoded: Iterable[tuple[Document, IdArray]]) -> None:
        """Read the validation set, which no document is to repeat."""
        self._valid = self._seen
        for document, _, runs in self._hashed(encoded):
            self._valid.add(document.hash, self._sampled(runs))
        self._seen = _Known(self._valid.every)

    def kept(
        self, encoded: Iterable[tuple[Document, IdArray]]
    ) -> Iterator[tuple[Document, IdArray]]:
        """Yield the documents that pass the filters, with their ids; each has at least one id."""
        for document, ids, runs in self._hashed(encoded):
            sampled = self._sampled(runs)
            row = self._reason(self._measure(document, ids, sampled))
            if row:
                self.dropped.append({"document": document.place, **row})
            else:
                self._seen.add(document.hash, sampled)
                yield document, ids

    @property
    def quality(self) -> Quality:
        """What the documents were like that have been judged."""
        total, valid = self._totals, self._valid is not None
        judged = max(1, total["judged tokens"])
        return Quality(
            duplicates=int(total["duplicates"]),
            overlap=total["overlap"] / judged,
            overlapping=int(total["overlapping"]),
            valid_duplicates=int(total["valid duplicates"]) if valid else None,
            valid_overlap=total["valid overlap"] / judged if valid else None,
            unknown=total["unknown"] / max(1, total["characters"]),
            every=self._seen.every,
            short=int(total["short"]),
            fewest_bytes=self._fewest,
        )

    def _measure(self, document: Document, ids: IdArray, sampled: set[int]) -> _Measures:
        """Measure a document, and count it."""
        enough = len(sampled) >= (_LEAST_RUNS if self._seen.every > 1 else 1)

        def found(known: _Known | None) -> tuple[bool, float]:
            if known is None:
                return False, 0.0
            same = document.hash in known.hashes
            share = len(sampled & known.runs) / len(sampled) if enough else 0.0
            return same, 1.0 if same else share

        (duplicate, overlap), (valid, valid_overlap) = found(self._seen), found(self._valid)
        judged = enough or duplicate or valid
        unknown = int(np.count_nonzero(ids == self._unknown_id))
        density = document.bytes / len(ids)
        total = self._totals
        total["judged tokens"] += len(ids) * judged
        total["overlap"] += overlap * len(ids)
        total["valid overlap"] += valid_overlap * len(ids)
        total["duplicates"] += duplicate
        total["valid duplicates"] += valid
        total["overlapping"] += overlap > 0.5
        total["short"] += not judged and self._seen.every > 1
        total["unknown"] += unknown
        total["characters"] += document.characters
        if len(ids) >= _LEAST_LISTED:
            self._fewest[document.place] = round(density, 3)
            if len(self._fewest) > _LISTED:
                del self._fewest[max(self._fewest, key=self._fewest.__getitem__)]
        share = unknown / max(1, document.characters)
        return _Measures(duplicate, valid, overlap, valid_overlap, share, density)

    def _reason(self, found: _Measures) -> dict[str, Any]:
        """Return why a document is to be dropped, {} if it is not."""
        filters = self.filters
        if filters.drop_duplicates and (found.duplicate or found.valid_duplicate):
            where = "in the validation set" if found.valid_duplicate else "duplicate"
            return {"reason": where}
        most = filters.max_overlap
        for share, reason in (
            (found.valid_overlap, "overlapping the validation set"),
            (found.overlap, "overlapping"),
        ):
            if most is not None and share > most:
                return {"reason": reason, "share": round(share, 4)}
        if filters.max_unknown is not None and found.unknown > filters.max_unknown:
            return {"reason": "with unknown characters", "share": round(found.unknown, 4)}
        least = filters.min_bytes_per_token
        if least is not None and found.bytes_per_token < least:
            return {"reason": "of few bytes a token", "bytes": round(found.bytes_per_token, 3)}
        return {}

    def _sampled(self, runs: Hashes) -> set[int]:
        return set(runs[runs <= _bound(self._seen.every)].tolist())

    def _hashed(
        self, encoded: Iterable[tuple[Document, IdArray]]
    ) -> Iterator[tuple[Document, IdArray, Hashes]]:
        """Yield each document with the hashes of its runs that may be sampled."""
        batch: list[tuple[Document, IdArray]] = []
        tokens = 0
        for document, ids in chain(encoded, [(None, None)]):
            if document is not None and ids is not None:
                batch.append((document, ids))
                tokens += len(ids)
            if batch and (document is None or tokens >= _BATCH):
                runs = self._runs([ids for _, ids in batch])
                for (one, its), hashes in zip(batch, runs, strict=True):
                    yield one, its, hashes
                batch, tokens = [], 0

    def _runs(self, arrays: Sequence[IdArray]) -> list[Hashes]:
        """Return the hashes of the runs of each of `arrays` that are below the bound."""
        ids = np.concatenate(arrays)
        keep = (ids != self._unknown_id) & (ids != self._newline_id)
        ends = np.cumsum(keep)[np.cumsum([len(array) for array in arrays]) - 1]
        hashes = rolling_hashes(self._values[ids[keep]])
        positions = np.flatnonzero(hashes <= _bound(self._seen.every))
        starts = np.searchsorted(positions, [0, *ends[:-1]])
        stops = np.maximum(np.searchsorted(positions, ends - (RUN - 1)), starts)
        found = hashes[positions]
        return [found[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


class _Known:
    """The documents and the sampled runs that have been read."""

    def __init__(self, every: int = 1) -> None:
        self.hashes: set[int] = set()
        self.runs: set[int] = set()
        self.every = every

    def add(self, document: int, sampled: set[int]) -> None:
        self.hashes.add(document)
        self.runs |= sampled
        while len(self.runs) > MOST_RUNS:
            self.every *= 2
            bound = int(_bound(self.every))
            self.runs = {run for run in self.runs if run <= bound}


class _Measures(NamedTuple):
    duplicate: bool
    valid_duplicate: bool
    overlap: float
    valid_overlap: float
    unknown: float
    bytes_per_token: float


def _bound(every: int) -> np.uint64:
    return np.uint64((1 << 64) // every - 1)


def rolling_hashes(values: Hashes) -> Hashes:
    """Return a hash of each run of 13 values, (max(0, N - 12),): sum of value x factor^place.

    Runs of 2, 4 and 8 are put together, so that it takes five steps and not thirteen.
    """
    if len(values) < RUN:
        return np.zeros(0, np.uint64)
    powers = {1: values}
    for length in (1, 2, 4):
        powers[2 * length] = _joined(powers[length], powers[length], length)
    twelve = _joined(powers[8], powers[4], 8)
    return _joined(twelve, values, 12)


def _joined(left: Hashes, right: Hashes, length: int) -> Hashes:
    """Return the hashes of runs of `length`, each with the run of `right` after it."""
    after = right[length:] * np.uint64(pow(_FACTOR, length, 1 << 64))
    return after[: len(left)] + left[: len(after)]
