from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from letters import Letters
from numpy.typing import NDArray

from gpt1.data import shards
from gpt1.data.batches import ArticleBatches, PackBatches, WindowBatches
from gpt1.data.packing import NO_TARGET, Batch, join_article, pack_article
from gpt1.data.shards import Shards, write_shards
from gpt1.data.tables import Texts
from gpt1.errors import DataError

Make = Callable[..., Any]


def _docs(count: int = 120, longest: int = 30) -> list[NDArray[np.uint16]]:
    rng = np.random.default_rng(0)
    # no two ids are equal, so that a sample is known by its ids
    lengths = rng.integers(2, longest, count)
    ids = rng.permutation(np.arange(1, lengths.sum() + 1)).astype(np.uint16)
    return np.split(ids, np.cumsum(lengths)[:-1])


def _windows(**options: int | bool | None) -> WindowBatches:
    return WindowBatches(np.concatenate(_docs()), 16, 7, **options)


def _packs(**options: int | bool | None) -> PackBatches:
    return PackBatches(_docs(), 20, 7, **options)


def _article(**options: int | bool | None) -> ArticleBatches:
    return ArticleBatches(_docs(), 50, 7, **options)


ALL = pytest.mark.parametrize("make", [_windows, _packs, _article])
SAMPLES = pytest.mark.parametrize("make", [_windows, _packs])


def _rows(batches: list[Batch]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """A batch's rows as (ids, labels), without padding."""
    return [
        (tuple(ids[ids > 0].tolist()), tuple(labels[ids > 0].tolist()))
        for batch in batches
        for ids, labels in zip(batch.ids, batch.labels, strict=True)
    ]


@ALL
def test_an_update_is_the_same_in_a_new_object_and_in_any_order(make: Make) -> None:
    first, second = make(seed=3), make(seed=3)
    forward = [_rows(first.update(step)) for step in range(40)]
    for step in random.Random(0).sample(range(40), 40):
        assert _rows(second.update(step)) == forward[step]
    assert _rows(make(seed=3).update(37)) == forward[37]


@ALL
@pytest.mark.parametrize("micro", [1, 2, 3, None])
def test_any_number_of_ranks_and_any_cut_share_the_same_update(
    make: Make, micro: int | None
) -> None:
    whole, cut = make(seed=1), make(seed=1, micro_batch_size=micro)
    for step in range(25):
        expected = _rows(whole.update(step))
        assert len(expected) == 7
        for ranks in (1, 2, 4, 7):
            shares = [cut.update(step, rank, ranks) for rank in range(ranks)]
            assert [row for share in shares for row in _rows(share)] == expected
            sizes = [[len(batch.ids) for batch in share] for share in shares]
            assert all(size == (micro or sum(s)) for s in sizes for size in s[:-1])
            assert max(map(sum, sizes)) - min(map(sum, sizes)) <= 1


@SAMPLES
def test_each_epoch_gives_each_sample_once_in_an_order_of_its_own(make: Make) -> None:
    batches = make(seed=0)
    samples = round(batches.steps_per_epoch * 7)
    assert samples % 7, "an update must span two epochs here"
    stream = [row for step in range(batches.steps(3)) for row in _rows(batches.update(step))]
    epochs = [stream[i * samples : (i + 1) * samples] for i in range(3)]
    assert len(set(epochs[0])) == samples
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]
    assert 3 * samples <= len(stream) < 3 * samples + 7
    for other in (make(seed=0, shuffle=False), make(seed=1)):
        assert _rows(other.update(0)) != _rows(batches.update(0))


@SAMPLES
def test_evaluation_sees_each_target_once_whatever_the_seed(make: Make) -> None:
    batches, other = make(seed=0, micro_batch_size=4), make(seed=1)
    rows = _rows(list(batches.once()))
    assert rows == _rows(list(other.once()))
    stream = [row for step in range(batches.steps(1)) for row in _rows(batches.update(step))]
    short = rows[batches.samples :]
    assert sorted(rows) == sorted([*stream[: batches.samples], *short])
    if isinstance(batches, WindowBatches):
        text = np.concatenate(_docs()).tolist()
        assert [label for _, labels in rows for label in labels] == text[1:]
    else:
        assert not short


@SAMPLES
@pytest.mark.parametrize("limit", [1, 2, 9, 10_000])
def test_a_part_of_the_evaluation_is_spread_evenly(make: Make, limit: int) -> None:
    batches = make()
    whole = _rows(list(batches.once()))
    part = _rows(list(batches.once(limit)))
    if limit >= batches.samples:
        assert part == whole
        return
    assert len(part) == limit
    positions = [whole.index(row) for row in part]
    gaps = np.diff([*positions, batches.samples])
    assert positions[0] == 0
    assert gaps.max() - gaps.min() <= 1


def test_windows_are_contiguous_text_with_the_next_id_as_label() -> None:
    ids = np.concatenate(_docs())
    batches = WindowBatches(ids, 16, 4, shuffle=False)
    stream = [batches.update(step) for step in range(batches.steps(1))]
    rows = np.concatenate([batch.ids for update in stream for batch in update])
    labels = np.concatenate([batch.labels for update in stream for batch in update])
    count = (len(ids) - 1) // 16
    assert rows[:count].ravel().tolist() == ids[: count * 16].tolist()
    assert labels[:count].ravel().tolist() == ids[1 : count * 16 + 1].tolist()
    assert batches.left_out == len(ids) - 1 - count * 16
    (batch,) = stream[0]
    assert batch.ids.dtype == batch.labels.dtype == np.int64
    assert (batch.positions, batch.segments) == (None, None)
    assert batch.targets == 4 * 16


def test_windows_of_shards_are_those_of_the_ids_they_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 50)
    path = tmp_path / "a.txt"
    path.write_text("".join(random.Random(0).choices("abcdef\n", k=1500)))
    write_shards(tmp_path / "out", Texts(path), Letters())
    opened = Shards(tmp_path / "out")
    mapped = WindowBatches(opened, 16, 5, seed=4)
    plain = WindowBatches(opened.read(0, opened.tokens), 16, 5, seed=4)
    for step in range(30):
        assert _rows(mapped.update(step)) == _rows(plain.update(step))
    assert mapped.fingerprint == opened.fingerprint


def test_packs_give_each_documents_every_target_once_an_epoch() -> None:
    docs = _docs(longest=60)
    batches = PackBatches(docs, 20, 1, seed=0)
    found: Counter[tuple[int, int]] = Counter()
    for step in range(batches.steps(1)):
        (batch,) = batches.update(step)
        assert batch.positions is not None
        assert batch.segments is not None
        real = batch.labels != NO_TARGET
        assert (real == (batch.segments > 0)).all()
        assert batch.targets == real.sum()
        found.update(zip(batch.ids[real].tolist(), batch.labels[real].tolist(), strict=True))
    pairs = Counter(p for doc in docs for p in zip(doc.tolist(), doc.tolist()[1:], strict=False))
    assert found == pairs
    (batch,) = PackBatches([np.arange(1, 6), np.arange(1, 4)], 512, 1).update(0)
    assert batch.ids.shape == (1, 6), "no wider than the widest needs to be"


def test_article_updates_take_the_packs_of_all_epochs_one_after_the_other() -> None:
    docs = _docs()
    batches = ArticleBatches(docs, 50, 7, seed=5)
    stream = [row for step in range(60) for row in _rows(batches.update(step))]
    lengths = [len(doc) for doc in docs]
    expected: list[list[int]] = []
    counts: list[int] = []
    carry: list[int] = []
    for epoch in range(40):
        order = np.arange(len(docs), dtype=np.uint32)
        np.random.Generator(np.random.PCG64([5, epoch])).shuffle(order)
        packs, carry = pack_article(lengths, order.tolist(), 50, carry)
        expected += [join_article(docs, pack).tolist() for pack in packs]
        counts.append(len(packs))
    assert [list(ids) for ids, _ in stream] == expected[: 60 * 7]
    assert all(labels == (*ids[1:], NO_TARGET) for ids, labels in stream)
    for epochs in range(1, 20):
        assert batches.steps(epochs) == sum(counts[:epochs]) // 7
    assert batches.steps_per_epoch == counts[0] / 7
    (batch, *_) = batches.update(0)
    assert batch.ids.shape[0] == 1, "one pack a forward pass, without padding"


def test_the_fingerprint_tells_other_data_and_other_documents() -> None:
    docs = _docs(20)
    changed = [*docs[:-1], docs[-1] + 1]
    joined = [np.concatenate(docs[:2]), *docs[2:]]
    for kind in (PackBatches, ArticleBatches):
        prints = {kind(d, 30, 2).fingerprint for d in (docs, changed, joined)}
        assert len(prints) == 3
        assert kind(docs, 30, 4, seed=9).fingerprint in prints
    ids = np.concatenate(docs)
    assert WindowBatches(ids, 8, 2).fingerprint == WindowBatches(ids.astype(int), 4, 1).fingerprint
    assert WindowBatches(ids, 8, 2).fingerprint != WindowBatches(ids[:-1], 8, 2).fingerprint


def test_data_without_one_usable_batch_is_an_error_at_once() -> None:
    with pytest.raises(DataError, match=r"has 16 tokens; one window takes n_ctx \+ 1 = 17"):
        WindowBatches(np.arange(16), 16, 2)
    assert WindowBatches(np.arange(17), 16, 2).steps(1) == 1
    with pytest.raises(DataError, match="none of the 2 documents has two tokens"):
        PackBatches([np.array([1]), np.array([2])], 16, 2)
    with pytest.raises(DataError, match="cannot fill one pack"):
        ArticleBatches([np.arange(600), np.arange(20)], 500, 2)
    docs = [np.arange(60), *[np.arange(30)] * 4]
    assert ArticleBatches(docs, 50, 2).skipped == 1, "documents longer than a pack are counted"
    rows = _rows(WindowBatches(np.arange(1, 50), 16, 10).update(0))
    assert len(rows) == 10, "tiny data fills a batch from several epochs"
    assert all(count in (3, 4) for count in Counter(rows).values())
