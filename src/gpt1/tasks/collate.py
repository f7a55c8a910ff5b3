"""Examples -> ids -> the batches of a run: sequences packed into rows with little padding.

The examples of a batch are a sample like any other. Their sequences are packed, longest first,
into rows of the length that has the least padding, where they do not see one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from gpt1.data.batches import SampleBatches, Sampling, fingerprint
from gpt1.data.packing import NO_TARGET, Batch, Piece, fill_packs, pack_documents
from gpt1.data.parallel import encode_texts
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import Example
from gpt1.tasks.transforms import Special
from gpt1.text.tokenizer import Tokenizer

_ROWS = (0, 48, 64, 96, 128, 192, 256)  # lengths of rows that are tried; 0: the longest sequence
_TOKENS = 4096  # in one forward pass of a prediction


@dataclass(frozen=True, kw_only=True)
class TaskBatch(Batch):
    """A batch of n examples with S sequences each, packed into rows (B, T), and u units.

    A unit is what has a row of scores: an example, or each word of one whose words have labels.
    """

    extract: NDArray[np.int64]
    """(u, S): where the states that the head reads are, in 0 .. B * T - 1."""
    readable: NDArray[np.bool_]
    """(u,): whether a unit has a state at all."""
    task_targets: NDArray[np.float64]
    """(u, num_scores): the right distribution over the scores."""
    weights: NDArray[np.float64]
    """The weight of each loss, in the shape of `task.losses`: (u,), or (u, num_scores)."""
    lm_weights: NDArray[np.float64]
    """(B, T): weight of the example / (targets of the sequence), for every target."""
    units: NDArray[np.int64]
    """(n,): how many units each example has."""
    sequences: float
    """How many sequences are in the rows, each counted by the weight of its example."""

    @property
    def samples(self) -> int:
        """Examples, or units of them, that a batch is drawn from."""
        return len(self.units)


@dataclass(frozen=True)
class Encoded:
    """Examples as ids, and how many of them are truncated.

    Sequence s of example i is ids[offsets[i * S + s] : offsets[i * S + s + 1]], a 0 after it.
    """

    task: Task
    ids: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    positions: NDArray[np.int64]
    """(u, S): which id of a unit's sequences the head reads; -1 if none is left."""
    units: NDArray[np.int64]
    """(n + 1,): example i has the units units[i] to units[i + 1]."""
    targets: NDArray[np.float64]
    """(u, num_scores); zeros where there is no label."""
    truncated: int
    """How many examples are longer than the window."""
    n_ctx: int
    """The window: how many ids a row may hold."""
    example_weights: NDArray[np.float64]
    """(n,): how much each example counts in training."""

    def __len__(self) -> int:
        return len(self.units) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Ids of every sequence, (n, S)."""
        return (np.diff(self.offsets) - 1).reshape(len(self), self.task.num_sequences)

    def units_of(self, examples: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of the units of some examples, in their order."""
        ranges = [np.arange(self.units[i], self.units[i + 1]) for i in examples]
        return np.concatenate([np.empty(0, np.int64), *ranges])


def encode(
    examples: Sequence[Example],
    task: Task,
    tokenizer: Tokenizer,
    n_ctx: int,
    *,
    blank: bool = False,
) -> Encoded:
    """Turn examples into sequences of ids, and their labels into distributions.

    Raises InputError for an example that does not fit the task, or has a text without tokens unless
    it may be `blank`.
    """
    special = Special.of(tokenizer)
    texts = [text for example in examples for text in (*example.texts, example.question)]
    unique = list(dict.fromkeys(texts))  # a passage of RACE has several questions
    arrays = encode_texts(tokenizer, unique)
    ids_of = {text: ids.tolist() for text, ids in zip(unique, arrays, strict=True)}
    rows: list[list[int]] = []
    positions: list[NDArray[np.int64]] = []
    targets: list[NDArray[np.float64]] = []
    num_truncated = 0
    for number, example in enumerate(examples):
        ids = [ids_of[text] for text in example.texts]
        if not blank:
            task.check(example, ids, number)
        new, truncated = task.sequences(ids, special, n_ctx, question=ids_of[example.question])
        rows += new
        num_truncated += truncated
        positions.append(task.positions(ids, new))
        targets.append(task.targets(example))
    lengths = np.array([len(row) + 1 for row in rows], np.int64)
    return Encoded(
        task,
        np.fromiter((id for row in rows for id in (*row, 0)), np.uint32, int(lengths.sum())),
        _offsets(lengths),
        np.concatenate([np.empty((0, task.num_sequences), np.int64), *positions]),
        _offsets(np.array([len(units) for units in positions], np.int64)),
        np.concatenate([np.empty((0, task.num_scores)), *targets]),
        num_truncated,
        n_ctx,
        np.array([example.weight for example in examples], np.float64),
    )


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)])


class TaskBatches(SampleBatches):
    """The batches of a supervised run; `weights` are those of the losses by class, None for 1."""

    def __init__(
        self,
        encoded: Encoded,
        batch_size: int,
        weights: NDArray[np.float64] | None = None,
        **sampling: Unpack[Sampling],
    ) -> None:
        super().__init__(len(encoded), batch_size, **sampling)
        self.encoded = encoded
        by_class = encoded.task.class_weights(None, encoded.targets) if weights is None else weights
        of_units = np.repeat(encoded.example_weights, np.diff(encoded.units))
        self._weights = by_class * of_units.reshape(-1, *[1] * (by_class.ndim - 1))
        self.tokens_per_sample = float(encoded.lengths.sum() / max(1, len(encoded)))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the examples, which a resumed run must share."""
        bits = [a.ravel().view(np.int64) for a in (self.encoded.targets, self._weights)]
        return fingerprint([self.encoded.ids, self.encoded.offsets, *bits])

    def _batch(self, samples: Sequence[int]) -> TaskBatch:
        return collate(self.encoded, samples, self._weights)


def collate(
    encoded: Encoded, chosen: Sequence[int], weights: NDArray[np.float64] | None = None
) -> TaskBatch:
    """Pack the sequences of the chosen examples into rows; `weights` are those of all units."""
    S = encoded.task.num_sequences
    examples = np.asarray(chosen, np.int64)
    numbers = (examples[:, None] * S + np.arange(S)).ravel()
    sizes = encoded.lengths[examples].ravel()
    # A "document" is a sequence and the 0 behind it, so that the extract token has a position
    begins, ends = encoded.offsets[numbers], encoded.offsets[numbers + 1]
    ids = np.concatenate([encoded.ids[a:b] for a, b in zip(begins, ends, strict=True)])
    packs, longest = _pack(sizes, encoded.n_ctx)
    packed = fill_packs(ids, _offsets(sizes + 1), packs, longest)
    starts = np.empty(len(numbers), np.int64)
    lm_weights = np.zeros(packed.ids.shape)
    share = encoded.example_weights[examples]
    for row, pack in enumerate(packs):
        end = 0
        for piece in pack:
            begin, end = end, end + int(sizes[piece.doc])
            starts[piece.doc] = row * longest + begin
            packed.labels[row, end - 1] = NO_TARGET
            lm_weights[row, begin : end - 1] = share[piece.doc // S] / (end - 1 - begin)
    alone = all(len(pack) == 1 for pack in packs)  # then causality is mask enough
    units = encoded.units_of(examples)
    counts = np.diff(encoded.units)[examples]
    positions = encoded.positions[units]  # (u, S)
    readable = np.asarray(positions[:, 0] >= 0)
    targets = encoded.targets[units]
    unit_weights = encoded.task.class_weights(None, targets) if weights is None else weights[units]
    unit_weights[~readable] = 0
    return TaskBatch(
        packed.ids,
        packed.labels,
        None if alone else packed.positions,
        None if alone else packed.segments,
        extract=np.repeat(starts.reshape(-1, S), counts, 0) + np.maximum(positions, 0),
        readable=readable,
        task_targets=targets,
        weights=unit_weights,
        lm_weights=lm_weights,
        units=counts,
        sequences=float(share.sum()) * S,
    )


def _pack(sizes: NDArray[np.int64], n_ctx: int) -> tuple[list[list[Piece]], int]:
    """Return the packs of sequences with the fewest empty places, and the length of the longest."""
    lengths, least = (sizes + 1).tolist(), int(sizes.max())
    candidates = []
    for limit in sorted({min(max(row, least), n_ctx) for row in _ROWS}):
        packs = pack_documents(lengths, limit)
        longest = max(sum(int(sizes[piece.doc]) for piece in pack) for pack in packs)
        candidates.append((packs, longest))
    return min(candidates, key=lambda packing: (len(packing[0]) * packing[1], packing[1]))


def by_length(encoded: Encoded, size: int | None = None) -> Iterator[tuple[list[int], TaskBatch]]:
    """Yield (numbers, batch) of all examples, longest first, for prediction.

    size: how many examples a batch has; None: as many as have 4,096 tokens.
    """
    longest = encoded.lengths.max(1) if len(encoded) else np.empty(0)
    order = np.argsort(-longest, kind="stable").tolist()
    start = 0
    while start < len(order):
        tokens = int(longest[order[start]]) * encoded.task.num_sequences
        chosen = order[start : start + (size or max(1, _TOKENS // tokens))]
        start += len(chosen)
        yield chosen, collate(encoded, chosen)
