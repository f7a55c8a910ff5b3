"""Objectives: functions from a model and a batch to sums, and the counts to divide them by.

A loss is the weighted sum over terms of (sum over the update) / (count over the update). Counts
depend on the data alone, so they are known before the first forward pass, and k micro-batches give
the gradient of one batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt1.config import TaskConfig
from gpt1.data.packing import Batch
from gpt1.model.build import Model
from gpt1.model.losses import linear_cross_entropy
from gpt1.model.transformer import Transformer
from gpt1.tasks import network
from gpt1.tasks.collate import TaskBatch
from gpt1.tasks.kinds import Task


@dataclass(frozen=True)
class Objective:
    """A loss by its terms.

    `sums` returns each term's sum over a batch, and a task's "scores"; `counts` returns each term's
    count; `weights` are the terms' factors. Without `averaged`, the gradient is that of the plain
    sums, as in the article. `compute_metrics` turns batches and their scores into figures, of which
    `metric` is the one by which a task's models are chosen; a language model has neither.
    """

    sums: Callable[[Model, Batch], dict[str, Tensor]]
    counts: Callable[[Batch], dict[str, float]]
    weights: Mapping[str, float]
    averaged: bool = True
    metric: str | None = None
    compute_metrics: Callable[[list[tuple[Batch, Tensor]]], dict[str, float]] | None = None


def _token_sums(model: Model, batch: Batch) -> dict[str, Tensor]:
    hidden = network.hidden(model, batch)
    labels = torch.from_numpy(batch.labels).to(hidden.device)
    total, _ = linear_cross_entropy(hidden, model.tokens.weight, labels)
    return {"lm": total}


def _pack_means(model: Model, batch: Batch) -> dict[str, Tensor]:
    hidden = network.hidden(model, batch)
    labels = torch.from_numpy(batch.labels).to(hidden.device)
    means = []
    for row, targets in zip(hidden, labels, strict=True):
        total, count = linear_cross_entropy(row, model.tokens.weight, targets)
        means.append(total / count)
    return {"lm": torch.stack(means).sum()}


token_mean = Objective(_token_sums, lambda batch: {"lm": float(batch.targets)}, {"lm": 1.0})
"""Mean cross-entropy over all targets of the update (paper, equation 1)."""

pack_sum = Objective(
    _pack_means, lambda batch: {"lm": float(len(batch.ids))}, {"lm": 1.0}, averaged=False
)
"""The article's: each pack's mean, summed over the packs of an update (spec 9.8.5)."""

BY_NAME = {"token_mean": token_mean, "pack_sum": pack_sum}


def supervised(task: Task, config: TaskConfig, longest: int) -> Objective:
    """Return the paper's L3: the task's loss + lm_coef * the LM loss (equation 5, spec 4.4).

    The task's loss is averaged over the examples' weights, the LM loss within each sequence and
    then over sequences, by the weights of their examples. `longest` is the longest sequence of the
    data: how many positions the release's single matrix has (spec 4.5.4).
    """

    def sums(model: Model, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(batch, TaskBatch)
        table, embeddings = model.tokens.weight, None
        if config.embeddings == "one":
            assert isinstance(model, Transformer)
            rows = torch.cat([table, model.positions.weight[:longest]])
            table = model.embd_drop(rows)
            embeddings = table[: model.config.vocab_size], table[model.config.vocab_size :]
        states = network.hidden(model, batch, embeddings)
        logits = network.scores(model, states, batch, task, shared=config.choice_mask == "shared")
        targets = torch.from_numpy(batch.task_targets).to(logits)
        weights = torch.from_numpy(batch.weights).to(logits)
        losses = task.losses(logits, targets)
        terms = {"task": (losses * weights).sum(), "scores": logits.detach()}
        if config.lm_coef:
            labels = torch.from_numpy(batch.labels).to(logits.device)
            lm_weights = torch.from_numpy(batch.lm_weights).to(logits)
            terms["lm"], _ = linear_cross_entropy(states, table, labels, lm_weights)
        return terms

    def counts(batch: Batch) -> dict[str, float]:
        assert isinstance(batch, TaskBatch)
        weights = batch.weights  # (u,) or (u, num_scores), whose mean is the unit's weight
        task_count = float(weights.sum()) / math.prod(weights.shape[1:])
        return {"task": task_count, "lm": batch.sequences}

    def compute_metrics(scored: list[tuple[Batch, Tensor]]) -> dict[str, float]:
        batches = [batch for batch, _ in scored if isinstance(batch, TaskBatch)]
        readable = np.concatenate([batch.readable for batch in batches])
        targets = np.concatenate([batch.task_targets for batch in batches])
        units = np.concatenate([batch.units for batch in batches])
        probabilities = task.probabilities(torch.cat([scores for _, scores in scored]), readable)
        return {task.metric: task.compute_metric(targets, probabilities, units)}

    weights = {"task": 1.0} | ({"lm": config.lm_coef} if config.lm_coef else {})
    return Objective(sums, counts, weights, metric=task.metric, compute_metrics=compute_metrics)
