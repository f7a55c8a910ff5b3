"""The loss of a task against a calculation by hand, one sequence at a time, without packing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import worlds
from gpt1.config import TaskConfig
from gpt1.model.build import Model
from gpt1.tasks.collate import TaskBatches, collate, encode
from gpt1.tasks.kinds import KINDS, Task
from gpt1.tasks.spec import Example
from gpt1.tasks.transforms import Special
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import objectives
from tolerances import ACCUMULATION_FP64

LM_COEF = 0.7


def by_hand(model: Model, words: Tokenizer, task: Task, examples: list[Example]) -> Tensor:
    """Return task loss + lm_coef * LM loss, as section 4 and 5 of the specification have them."""
    special = Special.of(words)
    losses, lm = [], []
    for example in examples:
        rows, _ = task.sequences(
            [words.encode(text) for text in example.texts],
            special,
            model.config.n_ctx,
            question=words.encode(example.question),
        )
        states = []
        for row in rows:
            ids = torch.tensor([row])
            hidden = model.hidden(ids)[0]
            lm.append(F.cross_entropy(hidden[:-1] @ model.tokens.weight.T, ids[0, 1:]))
            states.append(hidden[-1])
        assert model.head is not None
        head = [state @ model.head.weight.T + model.head.bias for state in states]
        assert example.label is not None
        if task.kind == "choice":
            logits = torch.cat(head)
        elif len(rows) == 2:
            logits = (states[0] + states[1]) @ model.head.weight.T + model.head.bias
        else:
            logits = head[0]
        if task.kind == "sequence-labelling":
            pieces = [len(words.encode(word)) for word in example.texts]
            for end, tag in zip(np.cumsum(pieces), example.label, strict=True):
                state = model.hidden(torch.tensor(rows))[0, end]
                logits = state @ model.head.weight.T + model.head.bias
                losses.append(F.cross_entropy(logits, torch.tensor(task.classes.index(tag))))
            continue
        if task.kind == "multi-label":
            gold = torch.tensor([float(i in example.label) for i in range(len(logits))]).double()
            losses.append(F.binary_cross_entropy_with_logits(logits, gold, reduction="sum"))
            continue
        log_p = logits.log_softmax(0)
        if task.kind == "regression":  # spec 4.6
            y = example.label
            low = min(int(y), 4)
            losses.append(-(log_p[low] * (low - y + 1) + log_p[low + 1] * (y - low)))
        else:
            losses.append(-log_p[int(example.label)])
    return torch.stack(losses).mean() + LM_COEF * torch.stack(lm).mean()


def loss(model: Model, batches: list, task: Task) -> Tensor:
    """Return the loss over micro-batches as the training loop makes it."""
    objective = objectives.supervised(task, TaskConfig(lm_coef=LM_COEF), longest=model.config.n_ctx)
    counts = [objective.counts(batch) for batch in batches]
    total: Tensor | float = 0.0
    for batch in batches:
        terms = objective.sums(model, batch)
        for name, weight in objective.weights.items():
            total = total + weight * terms[name] / sum(count[name] for count in counts)
    assert isinstance(total, Tensor)
    return total


@pytest.mark.parametrize("units", [None, 20], ids=["transformer", "lstm"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_and_gradients_are_those_calculated_by_hand(
    kind: str, units: int | None, tmp_path: Path
) -> None:
    task, words = worlds.TASKS[kind], worlds.tokenizer(tmp_path)
    model = worlds.model(task, words, n_hidden=units)
    examples = worlds.examples(kind, 13)
    encoded = encode(examples, task, words, model.config.n_ctx)
    expected = by_hand(model, words, task, examples)
    gradients = torch.autograd.grad(expected, list(model.parameters()))
    batch = collate(encoded, range(13))
    assert batch.segments is not None
    for size in (13, 5, 3, 1):  # k micro-batches are one batch
        cut = [collate(encoded, range(i, min(i + size, 13))) for i in range(0, 13, size)]
        found = loss(model, cut, task)
        torch.testing.assert_close(found, expected, **ACCUMULATION_FP64)
        model.zero_grad()
        found.backward()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, **ACCUMULATION_FP64)


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_of_an_epoch_is_in_one_batch_and_hardly_any_place_is_empty(
    kind: str, tmp_path: Path
) -> None:
    task, words = worlds.TASKS[kind], worlds.tokenizer(tmp_path)
    worlds.model(task, words)
    encoded = encode(worlds.examples(kind, 96), task, words, 32)
    batches = TaskBatches(encoded, 32, seed=3)
    found = [batch for step in range(3) for batch in batches.update(step)]
    assert sum(batch.samples for batch in found) == 96
    assert sum(batch.targets for batch in found) == int((encoded.lengths - 1).sum())
    places = sum(batch.ids.size for batch in found)
    assert encoded.lengths.sum() / places > 0.85


def test_class_weights_count_examples(tmp_path: Path) -> None:
    task, words = worlds.TASKS["classification"], worlds.tokenizer(tmp_path)
    model = worlds.model(task, words)
    examples = [Example(("the dog",), 0), Example(("a cat is",), 1)]
    encoded = encode(examples, task, words, 32)
    plain, weighted = (
        TaskBatches(encoded, 2, shuffle=False, weights=w).update(0)
        for w in (None, np.array([1.0, 3.0]))
    )
    objective = objectives.supervised(task, TaskConfig(lm_coef=0), longest=32)
    assert objective.counts(weighted[0])["task"] == 4
    first = float(objective.sums(model, collate(encoded, [0]))["task"].detach())
    both = float(objective.sums(model, plain[0])["task"].detach())
    found = float(objective.sums(model, weighted[0])["task"].detach())
    assert found == pytest.approx(first + 3 * (both - first), rel=1e-12)
    assert "lm" not in objective.weights


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_of_weight_two_is_one_given_twice(kind: str, tmp_path: Path) -> None:
    task, words = worlds.TASKS[kind], worlds.tokenizer(tmp_path)
    model = worlds.model(task, words)
    twice, *others = worlds.examples(kind, 5)
    losses = [
        loss(model, TaskBatches(encode(rows, task, words, 32), len(rows)).update(0), task)
        for rows in ([replace(twice, weight=2.0), *others], [twice, twice, *others])
    ]
    torch.testing.assert_close(*losses, **ACCUMULATION_FP64)
