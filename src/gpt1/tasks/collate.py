"""Examples -> ids -> the batches of a run: sequences packed into rows, no padding to speak of.

The examples of a batch are a sample like any other. Their sequences are packed, longest first,
into rows of the length that leaves the fewest places empty, where they do not see one another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gpt1.data.batches import Batch, SampleBatches, fingerprint
from gpt1.data.packing import NO_TARGET, Piece, fill_packs, pack_documents
from gpt1.data.parallel import encode_texts
from gpt1.errors import InputError
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import Example
from gpt1.tasks.transforms import Special
from gpt1.text.tokenizer import Tokenizer

_ROWS = (0, 48, 64, 96, 128, 192, 256)  # lengths of rows that are tried, 0 being the longest's
_TOKENS = 4096
"""In one forward pass of a prediction."""


@dataclass(frozen=True, kw_only=True)
class TaskBatch(Batch):
    """A batch of n examples with S sequences each, packed into rows (B, T)."""

    extract: NDArray[np.int64]
    """(n, S): where the extract tokens are, in 0 .. B * T - 1."""
    targets_of_task: NDArray[np.float64]
    """(n, num_scores): the right distribution over the scores."""
    weights: NDArray[np.float64]
    """What each loss counts, in the shape of `task.losses`: (n,), or (n, num_scores)."""
    lm_weights: NDArray[np.float64]
    """(B, T): 1 / (targets of the sequence), for every target."""

    @property
    def samples(self) -> int:
        return len(self.extract)


@dataclass(frozen=True)
class Encoded:
    """Examples as ids, and how many of them are truncated.

    Sequence s of example i is ids[offsets[i * S + s] : offsets[i * S + s + 1]], a 0 after it.
    """

    task: Task
    ids: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    targets: NDArray[np.float64]
    """(n, num_scores); zeros where there is no label."""
    truncated: int
    """How many examples are longer than the window."""
    n_ctx: int
    """The window: what a row may hold."""

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Ids of every sequence, (n, S)."""
        return (np.diff(self.offsets) - 1).reshape(len(self), self.task.num_sequences)


def encode(examples: Sequence[Example], task: Task, tokenizer: Tokenizer, n_ctx: int) -> Encoded:
    """Turn examples into sequences of ids, and their labels into distributions.

    Raises InputError for a text without tokens or an example that does not fit the task.
    """
    special = Special.of(tokenizer)
    texts = [text for example in examples for text in (*example.texts, example.question)]
    unique = list(dict.fromkeys(texts))  # a passage of RACE has several questions
    arrays = encode_texts(tokenizer, unique)
    ids_of = {text: ids.tolist() for text, ids in zip(unique, arrays, strict=True)}
    rows: list[list[int]] = []
    num_truncated = 0
    for number, example in enumerate(examples):
        task.check(example, number)
        ids = [ids_of[text] for text in example.texts]
        if not all(ids):
            raise InputError(
                f"text {ids.index([])} of example {number} is "
                f"{example.texts[ids.index([])][:40]!r}; it has no words. Leave the example out."
            )
        made, truncated = task.sequences(ids, special, n_ctx, question=ids_of[example.question])
        rows += made
        num_truncated += truncated
    lengths = np.array([len(row) + 1 for row in rows], np.int64)
    flat = np.fromiter((id for row in rows for id in (*row, 0)), np.uint32, int(lengths.sum()))
    targets = np.zeros((len(examples), task.num_scores))
    for i, example in enumerate(examples):
        targets[i] = task.target(example.label)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Encoded(task, flat, offsets, targets, num_truncated, n_ctx)


class TaskBatches(SampleBatches):
    """The batches of a supervised run; `weights` is what each loss counts, None: 1."""

    def __init__(
        self,
        encoded: Encoded,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        micro_batch_size: int | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(len(encoded), batch_size, micro_batch_size, seed, shuffle)
        self.encoded = encoded
        self._weights = np.ones(len(encoded)) if weights is None else weights
        self.tokens_per_sample = float(encoded.lengths.sum() / max(1, len(encoded)))

    @cached_property
    def fingerprint(self) -> str:
        encoded = self.encoded
        return fingerprint(
            [encoded.ids, encoded.offsets, encoded.targets.ravel().view(np.int64),
             self._weights.view(np.int64)]
        )  # fmt: skip

    def _batch(self, samples: Sequence[int]) -> TaskBatch:
        return collate(self.encoded, samples, self._weights)


def collate(
    encoded: Encoded, chosen: Sequence[int], weights: NDArray[np.float64] | None = None
) -> TaskBatch:
    """Pack the sequences of the chosen examples into rows."""
    S = encoded.task.num_sequences
    examples = np.asarray(chosen, np.int64)
    numbers = (examples[:, None] * S + np.arange(S)).ravel()
    sizes = encoded.lengths[examples].ravel()
    # A "document" is a sequence and the 0 behind it, so that the extract token has a position
    starts, ends = encoded.offsets[numbers], encoded.offsets[numbers + 1]
    ids = np.concatenate([encoded.ids[a:b] for a, b in zip(starts, ends, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(sizes + 1)])
    packs, longest = _pack(sizes, encoded.n_ctx)
    packed = fill_packs(ids, offsets, packs, longest)
    extract = np.empty(len(numbers), np.int64)
    lm_weights = np.zeros(packed.ids.shape)
    for row, pack in enumerate(packs):
        end = 0
        for piece in pack:
            begin, end = end, end + int(sizes[piece.doc])
            extract[piece.doc] = row * longest + end - 1
            packed.labels[row, end - 1] = NO_TARGET
            lm_weights[row, begin : end - 1] = 1 / (end - 1 - begin)
    alone = all(len(pack) == 1 for pack in packs)  # then causality is mask enough
    return TaskBatch(
        packed.ids,
        packed.labels,
        None if alone else packed.positions,
        None if alone else packed.segments,
        extract=extract.reshape(-1, S),
        targets_of_task=encoded.targets[examples],
        weights=np.ones(len(examples)) if weights is None else weights[examples],
        lm_weights=lm_weights,
    )


def _pack(sizes: NDArray[np.int64], n_ctx: int) -> tuple[list[list[Piece]], int]:
    """Return packs of sequences of these sizes, and the longest's, with the fewest empty places."""
    lengths, least = (sizes + 1).tolist(), int(sizes.max())
    found = []
    for most in sorted({min(max(row, least), n_ctx) for row in _ROWS}):
        packs = pack_documents(lengths, most)
        longest = max(sum(int(sizes[piece.doc]) for piece in pack) for pack in packs)
        found.append((len(packs) * longest, longest, packs))
    _, longest, packs = min(found, key=lambda each: each[:2])
    return packs, longest


def by_length(encoded: Encoded, size: int | None = None) -> Iterator[tuple[list[int], TaskBatch]]:
    """Yield (numbers, batch) of all examples, longest first, for prediction.

    `size` examples in one batch; None: as many as 4,096 tokens hold.
    """
    longest = encoded.lengths.max(1) if len(encoded) else np.empty(0)
    order = np.argsort(-longest, kind="stable").tolist()
    start = 0
    while start < len(order):
        tokens = int(longest[order[start]]) * encoded.task.num_sequences
        chosen = order[start : start + (size or max(1, _TOKENS // tokens))]
        start += len(chosen)
        yield chosen, collate(encoded, chosen)
