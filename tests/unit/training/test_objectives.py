"""Sums and counts: neither accumulation nor packing changes a loss or a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import tolerances
from gpt1.config import ModelConfig, OptimizerConfig, RunConfig
from gpt1.data.batches import ArticleBatches, PackBatches
from gpt1.data.packing import Batch
from gpt1.model.transformer import Transformer
from gpt1.tasks import network
from gpt1.training import objectives
from gpt1.training.step import Updater

SHAPE = ModelConfig(
    vocab_size=40, n_ctx=16, n_embd=16, n_layer=2, n_head=2,
    embd_pdrop=0, attn_pdrop=0, resid_pdrop=0,
)  # fmt: skip


def model(dtype: torch.dtype = torch.float64) -> Transformer:
    return Transformer(SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)


def documents(count: int, longest: int = 15) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 40, random.integers(2, longest)) for _ in range(count)]


def gradients(batches: list[Batch], dtype: torch.dtype) -> list[torch.Tensor]:
    """Return the gradients that an update of the loop takes from these micro-batches."""
    subject = model(dtype)
    run = RunConfig(model=SHAPE, optimizer=OptimizerConfig(max_grad_norm=None))
    Updater(subject, objectives.token_mean, run).update(batches, 0, lr=0.0)
    return [p.grad for p in subject.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, tolerances.ACCUMULATION_FP64["rtol"]), (torch.float32, tolerances.FP32)],
)
@pytest.mark.parametrize("micro", [1, 2, 3])
def test_micro_batches_give_the_gradient_of_one_batch(
    micro: int, dtype: torch.dtype, tolerance: float
) -> None:
    docs = documents(23)
    whole = PackBatches(docs, 16, batch_size=6).update(0)
    parts = PackBatches(docs, 16, batch_size=6, micro_batch_size=micro).update(0)
    assert len(whole) == 1
    assert len(parts) == 6 // micro
    for a, b in zip(gradients(whole, dtype), gradients(parts, dtype), strict=True):
        assert ((a - b).norm() / a.norm()).item() <= tolerance


def test_packed_documents_cost_what_padded_ones_cost() -> None:
    docs = documents(31)
    subject = model()
    packs = PackBatches(docs, 16, batch_size=4)
    packed_sum = packed_count = 0.0
    for batch in packs.once():
        packed_sum += objectives.token_mean.sums(subject, batch)["lm"].item()
        packed_count += batch.targets
    padded_sum = padded_count = 0.0
    for doc in docs:
        ids = torch.from_numpy(doc)[None]
        logits = subject(ids).logits
        padded_sum += F.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum").item()
        padded_count += len(doc) - 1
    assert packed_count == padded_count
    assert packed_sum / packed_count == pytest.approx(padded_sum / padded_count, abs=1e-12)


def test_packed_documents_do_not_see_each_other() -> None:
    docs = documents(31)
    first = next(iter(PackBatches(docs, 16, batch_size=100).once()))
    assert first.segments is not None
    row = int(np.argmax(first.segments.max(1)))  # a row of several documents
    assert first.segments[row].max() >= 2
    subject = model()
    before = network.hidden(subject, first)
    first.ids[row][first.segments[row] == 1] += 1
    first.ids[row] %= 40
    after = network.hidden(subject, first)
    others = torch.from_numpy(first.segments[row] == 2)
    assert torch.equal(before[row][others], after[row][others])


def test_article_loss_is_the_sum_of_each_packs_mean() -> None:
    docs = documents(40)
    batch = ArticleBatches(docs, 16, batch_size=3, micro_batch_size=3).update(0)[0]
    subject = model()
    by_hand = 0.0
    for ids, labels in zip(batch.ids, batch.labels, strict=True):
        length = int((labels >= 0).sum()) + 1
        row = torch.from_numpy(ids[:length])[None]
        out = subject(row, labels=row)
        assert out.loss is not None
        by_hand += out.loss.item()
    found = objectives.pack_sum.sums(subject, batch)["lm"]
    assert found.item() == pytest.approx(by_hand, rel=1e-12)
    assert not objectives.pack_sum.averaged
