"""Ids -> the batches of a run, for any rank, from any step on.

The samples of all epochs form one endless stream; update s takes samples [s * batch_size,
(s + 1) * batch_size) of it, rank r its share of them. Which sample stands where is a pure function
of (seed, epoch): a run goes on anywhere, on any number of ranks, and no sample is repeated or
skipped. Nothing is drawn from a global generator and nothing need be saved but the step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpt1.data.packing import (
    NO_TARGET,
    Ids,
    fill_packs,
    join_article,
    pack_article,
    pack_documents,
    windows,
)
from gpt1.data.shards import Shards
from gpt1.errors import ConfigError, DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """What one forward pass takes; every array (B, T) int64."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    """Shifted: labels[b, t] is what position t must predict, -100 where there is nothing."""
    positions: NDArray[np.int64] | None = None
    """None: 0 .. T - 1."""
    segments: NDArray[np.int64] | None = None
    """Positions see only their own segment; 0 is padding. None: one segment."""

    @property
    def targets(self) -> int:
        """How many positions have something to predict."""
        return int((self.labels != NO_TARGET).sum())

    @property
    def samples(self) -> int:
        """How many samples of the stream it holds."""
        return len(self.ids)


class Batches(Protocol):
    """The batches of a run."""

    batch_size: int
    """Samples an update, over all ranks."""
    micro_batch_size: int | None
    """Samples in one forward pass; None: a rank's whole share. Changes the cut, not the samples."""
    tokens_per_sample: float
    """On average."""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the data, to tell on resuming whether it is still the same."""

    @property
    def steps_per_epoch(self) -> float:
        """Updates an epoch, with fraction: an update may span two epochs."""

    def steps(self, epochs: float) -> int:
        """Return how many updates so many epochs take."""

    def update(self, step: int, rank: int = 0, ranks: int = 1) -> list[Batch]:
        """Return the micro-batches of update `step` for one rank. Raises ConfigError."""


class SampleBatches:
    """Batches whose every epoch holds the same samples, in another order."""

    tokens_per_sample: float

    @property
    def fingerprint(self) -> str:
        raise NotImplementedError

    def __init__(
        self, samples: int, batch_size: int, micro_batch_size: int | None, seed: int, shuffle: bool
    ) -> None:
        self.samples = samples
        """Samples an epoch."""
        self.batch_size, self.micro_batch_size = batch_size, micro_batch_size
        self._order = _Order(samples, seed, shuffle)

    @property
    def steps_per_epoch(self) -> float:
        return self.samples / self.batch_size

    def steps(self, epochs: float) -> int:
        return math.ceil(epochs * self.samples / self.batch_size)

    def update(self, step: int, rank: int = 0, ranks: int = 1) -> list[Batch]:
        chosen = self._order.take(*_share(step, self.batch_size, rank, ranks))
        return [self._batch(part) for part in _cut(chosen, self.micro_batch_size)]

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Yield every sample once, in order, whatever the seed: for evaluation.

        With `limit`, only so many, spread evenly.
        """
        count = min(limit or self.samples, self.samples)
        chosen = [i * self.samples // count for i in range(count)]
        for part in _cut(chosen, self.micro_batch_size or self.batch_size):
            yield self._batch(part)

    def _batch(self, chosen: Sequence[int]) -> Batch:
        raise NotImplementedError


class WindowBatches(SampleBatches):
    """Windows of n_ctx + 1 ids over contiguous text: pre-training (paper, section 4.1).

    Raises DataError when the text does not fill one window.
    """

    def __init__(
        self,
        source: Shards | Ids,
        n_ctx: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        micro_batch_size: int | None = None,
    ) -> None:
        tokens = source.tokens if isinstance(source, Shards) else len(source)
        self._windows = windows(tokens, n_ctx)
        if not len(self._windows):
            raise DataError(
                f"the text has {tokens:,} tokens; one window takes n_ctx + 1 = {n_ctx + 1:,}. "
                f"Give more text or a model of smaller n_ctx."
            )
        super().__init__(len(self._windows), batch_size, micro_batch_size, seed, shuffle)
        self.tokens_per_sample = float(n_ctx)
        self._source = source
        self.left_out = tokens - int(self._windows[-1, 1])
        """Tokens at the end that fill no window."""

    @cached_property
    def fingerprint(self) -> str:
        source = self._source
        return source.fingerprint if isinstance(source, Shards) else fingerprint([source])

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Yield every target of the text once, in order; the last window may be short.

        With a smaller `limit`, only so many whole windows, spread evenly.
        """
        yield from super().once(limit)
        if self.left_out and (limit is None or limit >= self.samples):
            start = int(self._windows[-1, 1]) - 1
            ids = self._read(start, start + 1 + self.left_out)[None].astype(np.int64)
            yield Batch(ids[:, :-1], ids[:, 1:])

    def _batch(self, chosen: Sequence[int]) -> Batch:
        spans = self._windows[chosen].tolist()
        rows = np.stack([self._read(start, stop) for start, stop in spans])
        return Batch(rows[:, :-1].astype(np.int64), rows[:, 1:].astype(np.int64))

    def _read(self, start: int, stop: int) -> Ids:
        source = self._source
        return source.read(start, stop) if isinstance(source, Shards) else source[start:stop]


class PackBatches(SampleBatches):
    """Whole documents, several to a row, that do not see each other: fine-tuning.

    Raises DataError when no document has a target.
    """

    def __init__(
        self,
        docs: Sequence[Ids],
        n_ctx: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        micro_batch_size: int | None = None,
    ) -> None:
        lengths = [len(doc) for doc in docs]
        self._packs = pack_documents(lengths, n_ctx)
        if not self._packs:
            raise DataError(
                f"none of the {len(docs):,} documents has two tokens; there is nothing to predict. "
                f"Give more text."
            )
        super().__init__(len(self._packs), batch_size, micro_batch_size, seed, shuffle)
        self._ids = np.concatenate(docs)
        self._offsets = np.cumsum([0, *lengths])
        sizes = [sum(p.stop - p.start - 1 for p in pack) for pack in self._packs]
        self._length = max(sizes)
        self.tokens_per_sample = sum(sizes) / len(sizes)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint([self._ids, self._offsets])

    def _batch(self, chosen: Sequence[int]) -> Batch:
        packs = [self._packs[i] for i in chosen]
        return Batch(*fill_packs(self._ids, self._offsets, packs, self._length))


class ArticleBatches:
    """The article's packs: one epoch's open pack goes on in the next, and so do packs that do not
    fill an update (spec 9.8, 9.10.7). Raises DataError when no pack is ever ready.
    """

    def __init__(
        self,
        docs: Sequence[Ids],
        max_len: int = 500,
        batch_size: int = 32,
        *,
        seed: int = 0,
        shuffle: bool = True,
        micro_batch_size: int | None = 1,
    ) -> None:
        self.batch_size, self.micro_batch_size = batch_size, micro_batch_size
        self._docs, self._max_len = docs, max_len
        self._lengths = [len(doc) for doc in docs]
        self.skipped = sum(length > max_len for length in self._lengths)
        """Documents longer than a pack."""
        self._order = _Order(len(docs), seed, shuffle)
        self._starts = [0]  # of each epoch known so far, in packs
        self._carries: list[list[int]] = [[]]
        self._epoch = lru_cache(maxsize=2)(self._pack)
        self._epoch(0), self._epoch(1)
        self.tokens_per_sample = float(max_len)
        if not self._starts[2]:
            raise DataError(
                f"the {len(docs):,} documents do not fill one pack of {max_len} tokens in two "
                f"epochs. Give more text, or set data.pack=documents."
            )

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint([*self._docs, np.array(self._lengths)])

    @property
    def steps_per_epoch(self) -> float:
        """Of the first epoch; later ones may have a pack more or less."""
        return self._starts[1] / self.batch_size

    def steps(self, epochs: float) -> int:
        whole = int(epochs)
        packs = self._start(whole) + int((epochs - whole) * len(self._epoch(whole)))
        return packs // self.batch_size

    def update(self, step: int, rank: int = 0, ranks: int = 1) -> list[Batch]:
        first, last = _share(step, self.batch_size, rank, ranks)
        chosen: list[list[int]] = []
        epoch = 0
        while first < last:
            while self._start(epoch + 1) <= first:
                epoch += 1
            start = self._start(epoch)
            chosen += self._epoch(epoch)[first - start : last - start]
            first = min(last, self._start(epoch + 1))
        return [self._batch(part) for part in _cut(chosen, self.micro_batch_size)]

    def _start(self, epoch: int) -> int:
        while len(self._starts) <= epoch:
            self._epoch(len(self._starts) - 1)
        return self._starts[epoch]

    def _pack(self, epoch: int) -> list[list[int]]:
        """Return an epoch's packs; the epochs before it must have been packed once."""
        self._start(epoch)
        order = self._order.permutation(epoch).tolist()
        packs, carry = pack_article(self._lengths, order, self._max_len, self._carries[epoch])
        if len(self._starts) == epoch + 1:
            self._starts.append(self._starts[epoch] + len(packs))
            self._carries.append(carry)
        return packs

    def _batch(self, chosen: Sequence[Sequence[int]]) -> Batch:
        packs = [join_article(self._docs, pack) for pack in chosen]
        shape = (len(packs), max(len(pack) for pack in packs))
        ids, labels = np.zeros(shape, np.int64), np.full(shape, NO_TARGET, np.int64)
        for row, pack in enumerate(packs):
            ids[row, : len(pack)] = pack
            labels[row, : len(pack) - 1] = pack[1:]
        return Batch(ids, labels)


class _Order:
    """The endless stream of sample numbers: 0 .. n - 1 in another order each epoch."""

    def __init__(self, n: int, seed: int, shuffle: bool) -> None:
        self._n, self._seed, self._shuffle = n, seed, shuffle
        self.permutation = lru_cache(maxsize=2)(self._permute)

    def take(self, first: int, last: int) -> list[int]:
        """Return samples [first, last) of the stream."""
        taken: list[int] = []
        while first < last:
            epoch, start = divmod(first, self._n)
            part = self.permutation(epoch)[start : start + last - first].tolist()
            taken += part
            first += len(part)
        return taken

    def _permute(self, epoch: int) -> NDArray[np.uint32]:
        order = np.arange(self._n, dtype=np.uint32)
        if self._shuffle:
            np.random.Generator(np.random.PCG64([self._seed, epoch])).shuffle(order)
        return order


def split_validation(n: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split 0 .. n - 1 into (training, validation), each in order; a pure function.

    A share above 0 gives at least one of each. Raises DataError when n is too small for that.

    >>> training, validation = split_validation(10, 0.2, seed=0)
    >>> len(training), len(validation), sorted(training + validation) == list(range(10))
    (8, 2, True)
    """
    if not share:
        return list(range(n)), []
    if n < 2:
        raise DataError(
            f"there {'is' if n == 1 else 'are'} {n} text{'s' * (n != 1)}; a validation share of "
            f"{share} needs two that differ. Give more text, or set data.valid_share=0."
        )
    count = min(max(round(n * share), 1), n - 1)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n).tolist()
    return sorted(order[count:]), sorted(order[:count])


@dataclass(frozen=True)
class Split:
    """Texts for training and for validation, none of which is in both."""

    training: list[str]
    validation: list[str]
    duplicates: int
    """Texts left out because they were there already."""


def split_texts(texts: Sequence[str], share: float, seed: int) -> Split:
    """Hold out a share of the texts; exact duplicates are dropped first, so that none is in both.

    Without a share all texts are for training, duplicates too. Raises DataError.
    """
    if not share:
        return Split(list(texts), [], 0)
    unique = list(dict.fromkeys(texts))
    training, validation = split_validation(len(unique), share, seed)
    return Split(
        [unique[i] for i in training],
        [unique[i] for i in validation],
        len(texts) - len(unique),
    )


def _share(step: int, batch_size: int, rank: int, ranks: int) -> tuple[int, int]:
    """Return the samples [first, last) of the stream that are a rank's share of an update."""
    if batch_size < ranks:
        raise ConfigError(
            f"train.batch_size is {batch_size}; {ranks} processes need at least one sample each. "
            f"Set train.batch_size={ranks} or start fewer."
        )
    start = step * batch_size
    return start + rank * batch_size // ranks, start + (rank + 1) * batch_size // ranks


def _cut(samples: list[T], size: int | None) -> list[list[T]]:
    size = size or len(samples)
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def fingerprint(arrays: Sequence[Ids]) -> str:
    """Return the SHA-256 of arrays of whole numbers, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, len(array), 1 << 20):  # in parts: a corpus would take 8 bytes an id
            digest.update(array[start : start + (1 << 20)].astype("<i8").tobytes())
    return digest.hexdigest()
