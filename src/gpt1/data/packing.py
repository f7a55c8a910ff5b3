"""Documents -> rows for the model; pure functions over numpy arrays.

There are three ways. *Windows* cut contiguous text (paper, section 4.1: "contiguous sequences of
512 tokens"), each with one more id so that every position has a target. *Documents* packs whole
documents, which do not attend to each other. *Article* is the article's rule, defects included
(spec 9.8.4).

`labels` are shifted: labels[t] is what position t must predict, -100 where there is nothing. A
document of L ids has L - 1 targets and takes L - 1 positions: its last id is only ever a target.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpt1.text.tokenizer import IdArray

NO_TARGET = -100


@dataclass(frozen=True)
class Batch:
    """The input of one forward pass; every array is (B, T) int64."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64] | None = None
    """None: 0 .. T - 1."""
    segments: NDArray[np.int64] | None = None
    """Positions attend to their own segment only; 0 is padding. None: one segment."""

    @property
    def targets(self) -> int:
        """The number of positions with a label."""
        return int((self.labels != NO_TARGET).sum())

    @property
    def samples(self) -> int:
        """The number of samples of the stream."""
        return len(self.ids)


def windows(n_tokens: int, n_ctx: int) -> NDArray[np.int64]:
    """Return the [start, stop) of windows of n_ctx + 1 ids at stride n_ctx, (W, 2).

    Each id but the first is a target in at most one window. Ids that do not fill a last window are
    left out.

    >>> windows(10, 4).tolist()
    [[0, 5], [4, 9]]
    """
    starts = np.arange(max(n_tokens - 1, 0) // n_ctx, dtype=np.int64) * n_ctx
    return np.stack([starts, starts + n_ctx + 1], axis=1)


class Piece(NamedTuple):
    """ids[start:stop] of document `doc`: stop - start - 1 positions."""

    doc: int
    start: int
    stop: int


def pack_documents(lengths: Iterable[int], n_ctx: int) -> list[list[Piece]]:
    """Pack documents of these lengths into packs of at most n_ctx positions, every target once.

    A longer document is cut: the next piece starts at the last id of the one before, which was only
    a target there. Pieces go where they leave the least room, longest first (best fit decreasing),
    so that the result depends on the lengths alone. Documents of one id are left out.

    >>> [[tuple(piece) for piece in pack] for pack in pack_documents([3, 8, 4], n_ctx=5)]
    [[(0, 0, 3), (2, 0, 4)], [(1, 0, 6)], [(1, 5, 8)]]
    """
    pieces = [
        Piece(doc, start, min(start + n_ctx + 1, length))
        for doc, length in enumerate(lengths)
        for start in range(0, length - 1, n_ctx)
    ]
    pieces.sort(key=lambda piece: piece.start - piece.stop)
    packs: list[list[Piece]] = []
    with_room: dict[int, list[list[Piece]]] = {}  # positions left -> packs
    rooms: list[int] = []  # its keys, sorted
    for piece in pieces:
        need = piece.stop - piece.start - 1
        index = bisect_left(rooms, need)
        if index == len(rooms):
            room, pack = n_ctx, list[Piece]()
            packs.append(pack)
        else:
            room = rooms[index]
            pack = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[index]
        pack.append(piece)
        if left := room - need:
            if left not in with_room:
                with_room[left] = []
                rooms.insert(bisect_left(rooms, left), left)
            with_room[left].append(pack)
    return sorted(sorted(pack) for pack in packs)


def fill_packs(
    ids: IdArray, offsets: NDArray[np.int64], packs: Sequence[Sequence[Piece]], length: int
) -> Batch:
    """Return packs as rows of `length` positions; the pieces of a row are its segments 1, 2, ...

    Document i is ids[offsets[i]:offsets[i + 1]].
    """
    pieces = np.array([piece for pack in packs for piece in pack], dtype=np.int64)
    starts = offsets[pieces[:, 0]] + pieces[:, 1]
    sizes = pieces[:, 2] - pieces[:, 1] - 1
    counts = np.array([len(pack) for pack in packs])
    first = np.repeat(np.cumsum(counts) - counts, counts)  # each piece's first one in its row
    before = np.cumsum(sizes) - sizes

    row = np.repeat(np.repeat(np.arange(len(packs)), counts), sizes)
    within = np.arange(sizes.sum()) - np.repeat(before, sizes)
    column = np.repeat(before - before[first], sizes) + within
    source = np.repeat(starts, sizes) + within

    filled = np.zeros((4, len(packs), length), np.int64)
    filled[1] = NO_TARGET
    segments = np.repeat(np.arange(len(pieces)) - first + 1, sizes)
    filled[:, row, column] = ids[source], ids[source + 1], within, segments
    return Batch(*filled)


def pack_article(
    lengths: Sequence[int], order: Iterable[int], max_len: int = 500, carry: Sequence[int] = ()
) -> tuple[list[list[int]], list[int]]:
    """Pack documents the article's way; return the packs, as document numbers, and the open pack.

    A document longer than `max_len` is skipped. One that would make the pack longer than `max_len`,
    counted with its full length, closes the pack and starts the next. The open pack is the `carry`
    of the next epoch (spec 9.8.4, 9.10.7, 9.10.13).

    >>> pack_article([3, 4, 9, 2], order=[0, 1, 2, 3], max_len=7)
    ([[0, 1]], [3])
    """
    packs: list[list[int]] = []
    pack = list(carry)
    size = sum(lengths[doc] - 1 for doc in pack) + bool(pack)
    for doc in order:
        if lengths[doc] > max_len:
            continue
        if pack and size + lengths[doc] > max_len:
            packs.append(pack)
            pack = []
        size = size + lengths[doc] - 1 if pack else lengths[doc]
        pack.append(doc)
    return packs, pack


def join_article(docs: Sequence[IdArray], pack: Sequence[int]) -> IdArray:
    """Return a pack's ids: the first document whole, the others without their first id, (N,)."""
    return np.concatenate([docs[pack[0]], *(docs[doc][1:] for doc in pack[1:])])
