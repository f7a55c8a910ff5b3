"""Ids -> the batches of a run, for any rank, from any step on.

The samples of all epochs form one endless stream; update s takes samples [s * batch_size,
(s + 1) * batch_size) of it, and each rank its share of them. Their order is a pure function of
(seed, epoch): a run can be resumed at any step, on any number of ranks, and no sample is repeated
or skipped. Nothing is drawn from a global generator, and only the step must be saved.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from gpt1.data.packing import (
    NO_TARGET,
    Batch,
    fill_packs,
    join_article,
    pack_article,
    pack_documents,
    windows,
)
from gpt1.data.shards import Shards
from gpt1.errors import DataError, counted
from gpt1.text.tokenizer import IdArray


class Sampling(TypedDict, total=False):
    """Options of all batches: the order of the samples, and how updates are split."""

    seed: int
    shuffle: bool
    micro_batch_size: int | None
    """Samples in one forward pass; None: a rank's whole share."""


class Batches(ABC):
    """The batches of a run over `count` samples or documents, in a new order in every epoch."""

    tokens_per_sample: float
    """Tokens in a sample, on average."""

    def __init__(self, count: int, batch_size: int, **sampling: Unpack[Sampling]) -> None:
        self.batch_size = batch_size
        """Samples in an update, over all ranks."""
        self.micro_batch_size = sampling.get("micro_batch_size")
        order = partial(_order, count, sampling.get("seed", 0), sampling.get("shuffle", True))
        self._order = lru_cache(maxsize=2)(order)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The SHA-256 of the data, which a resumed run must share."""

    @property
    @abstractmethod
    def steps_per_epoch(self) -> float:
        """Updates in an epoch; a fraction, since an update may span two epochs."""

    @abstractmethod
    def steps(self, epochs: float) -> int:
        """Return the number of updates in `epochs`."""

    def update(self, step: int, rank: int = 0, ranks: int = 1) -> list[Batch]:
        """Return the micro-batches of update `step` for `rank` of at most batch_size `ranks`."""
        start = step * self.batch_size
        first = start + rank * self.batch_size // ranks
        last = start + (rank + 1) * self.batch_size // ranks
        return self._cut(self._take(first, last), self.micro_batch_size or last - first)

    def _cut(self, samples: Sequence[Any], size: int) -> list[Batch]:
        return [self._batch(samples[i : i + size]) for i in range(0, len(samples), size)]

    @abstractmethod
    def _take(self, first: int, last: int) -> Sequence[Any]:
        """Return samples [first, last) of the stream, as `_batch` takes them."""

    @abstractmethod
    def _batch(self, samples: Sequence[Any]) -> Batch:
        """Return these samples as one batch."""


class SampleBatches(Batches):
    """Batches of the same numbered samples in every epoch."""

    def __init__(self, samples: int, batch_size: int, **sampling: Unpack[Sampling]) -> None:
        super().__init__(samples, batch_size, **sampling)
        self.samples = samples
        """Samples in an epoch."""

    @property
    def steps_per_epoch(self) -> float:
        """Updates in an epoch; a fraction, since an update may span two epochs."""
        return self.samples / self.batch_size

    def steps(self, epochs: float) -> int:
        """Return the number of updates in `epochs`, rounded up."""
        return math.ceil(epochs * self.samples / self.batch_size)

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Yield every sample once, in order, whatever the seed: for evaluation.

        With a smaller `limit`, yield that many, spread evenly.
        """
        count = min(limit or self.samples, self.samples)
        chosen = [i * self.samples // count for i in range(count)]
        yield from self._cut(chosen, self.micro_batch_size or self.batch_size)

    def _take(self, first: int, last: int) -> list[int]:
        samples: list[int] = []
        while len(samples) < last - first:
            epoch, start = divmod(first + len(samples), self.samples)
            samples += self._order(epoch)[start : start + last - first - len(samples)].tolist()
        return samples


class WindowBatches(SampleBatches):
    """Windows of n_ctx + 1 ids over contiguous text: pre-training (paper, section 4.1).

    Raises DataError when the text does not fill one window.
    """

    def __init__(
        self, source: Shards | IdArray, n_ctx: int, batch_size: int, **sampling: Unpack[Sampling]
    ) -> None:
        self._source = source
        self._read = source.read if isinstance(source, Shards) else lambda a, b: source[a:b]
        tokens = source.tokens if isinstance(source, Shards) else len(source)
        self._windows = windows(tokens, n_ctx)
        if not len(self._windows):
            raise DataError(
                f"the text has {counted(tokens, 'token')}; one window takes n_ctx + 1 = "
                f"{n_ctx + 1:,}. Give more text or a model of smaller n_ctx."
            )
        super().__init__(len(self._windows), batch_size, **sampling)
        self.tokens_per_sample = float(n_ctx)
        self.left_out = tokens - int(self._windows[-1, 1])
        """Tokens at the end that fill no window."""

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the data, which a resumed run must share."""
        source = self._source
        return source.fingerprint if isinstance(source, Shards) else fingerprint([source])

    def once(self, limit: int | None = None) -> Iterator[Batch]:
        """Yield every target of the text once, in order; the last window may be short.

        With a smaller `limit`, yield that many whole windows, spread evenly.
        """
        yield from super().once(limit)
        if self.left_out and (limit is None or limit >= self.samples):
            start = int(self._windows[-1, 1]) - 1
            ids = self._read(start, start + 1 + self.left_out)[None].astype(np.int64)
            yield Batch(ids[:, :-1], ids[:, 1:])

    def _batch(self, samples: Sequence[int]) -> Batch:
        spans = self._windows[samples].tolist()
        rows = np.stack([self._read(start, stop) for start, stop in spans]).astype(np.int64)
        return Batch(rows[:, :-1], rows[:, 1:])


class PackBatches(SampleBatches):
    """Whole documents, several in a row, that do not attend to each other: fine-tuning.

    Raises DataError when no document has a target.
    """

    def __init__(
        self, docs: Sequence[IdArray], n_ctx: int, batch_size: int, **sampling: Unpack[Sampling]
    ) -> None:
        lengths = [len(doc) for doc in docs]
        self._packs = pack_documents(lengths, n_ctx)
        if not self._packs:
            none = f"none of the {len(docs):,} documents" if len(docs) > 1 else "no document"
            raise DataError(f"{none} has two tokens; there is nothing to predict. Give more text.")
        super().__init__(len(self._packs), batch_size, **sampling)
        self._ids = np.concatenate(docs)
        self._offsets = np.cumsum([0, *lengths])
        sizes = [sum(p.stop - p.start - 1 for p in pack) for pack in self._packs]
        self._length = max(sizes)
        self.tokens_per_sample = sum(sizes) / len(sizes)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the data, which a resumed run must share."""
        return fingerprint([self._ids, self._offsets])

    def _batch(self, samples: Sequence[int]) -> Batch:
        packs = [self._packs[i] for i in samples]
        return fill_packs(self._ids, self._offsets, packs, self._length)


class ArticleBatches(Batches):
    """The article's packs (spec 9.8, 9.10.7), by default one in each forward pass.

    A pack that an epoch leaves open is continued in the next one, and so is an update that lacks
    packs. Raises DataError when no pack is ever full.
    """

    def __init__(
        self,
        docs: Sequence[IdArray],
        max_len: int = 500,
        batch_size: int = 32,
        **sampling: Unpack[Sampling],
    ) -> None:
        sampling.setdefault("micro_batch_size", 1)
        super().__init__(len(docs), batch_size, **sampling)
        self._docs, self._max_len = docs, max_len
        self._lengths = [len(doc) for doc in docs]
        self.skipped = sum(length > max_len for length in self._lengths)
        """Documents longer than a pack."""
        self._packs: list[list[int]] = []  # of all epochs packed so far, as document numbers
        self._open: list[int] = []
        self._ends = [0]  # how many packs are full at the end of each epoch
        self.tokens_per_sample = float(max_len)
        if not self._ready_after(2):
            raise DataError(
                f"{counted(len(docs), 'document')} cannot fill one pack of {max_len} tokens in two "
                f"epochs. Give more text, or set data.pack=documents."
            )

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the data, which a resumed run must share."""
        return fingerprint([*self._docs, np.array(self._lengths)])

    @property
    def steps_per_epoch(self) -> float:
        """Updates in the first epoch; later ones may have a pack more or less."""
        return self._ready_after(1) / self.batch_size

    def steps(self, epochs: float) -> int:
        """Return the number of updates that are full after `epochs`."""
        start, end = self._ready_after(int(epochs)), self._ready_after(int(epochs) + 1)
        return (start + int(epochs % 1 * (end - start))) // self.batch_size

    def _take(self, first: int, last: int) -> list[list[int]]:
        while len(self._packs) < last:
            self._pack_epoch()
        return self._packs[first:last]

    def _ready_after(self, epochs: int) -> int:
        while len(self._ends) <= epochs:
            self._pack_epoch()
        return self._ends[epochs]

    def _pack_epoch(self) -> None:
        order = self._order(len(self._ends) - 1).tolist()
        packs, self._open = pack_article(self._lengths, order, self._max_len, self._open)
        self._packs += packs
        self._ends.append(len(self._packs))

    def _batch(self, samples: Sequence[Sequence[int]]) -> Batch:
        packs = [join_article(self._docs, pack) for pack in samples]
        shape = (len(packs), max(len(pack) for pack in packs))
        ids, labels = np.zeros(shape, np.int64), np.full(shape, NO_TARGET, np.int64)
        for row, pack in enumerate(packs):
            ids[row, : len(pack)] = pack
            labels[row, : len(pack) - 1] = pack[1:]
        return Batch(ids, labels)


def _order(count: int, seed: int, shuffle: bool, epoch: int) -> NDArray[np.uint32]:
    """Return the numbers 0 .. count - 1 in the order of an epoch."""
    order = np.arange(count, dtype=np.uint32)
    if shuffle:
        np.random.Generator(np.random.PCG64([seed, epoch])).shuffle(order)
    return order


def fingerprint(arrays: Sequence[IdArray]) -> str:
    """Return the SHA-256 of arrays of whole numbers, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        for start in range(0, len(array), 1 << 20):  # in parts, since ids become 8 bytes each
            digest.update(array[start : start + (1 << 20)].astype("<i8").tobytes())
    return digest.hexdigest()
