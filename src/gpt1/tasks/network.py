"""A language model made ready for a task: special rows, transferred layers, head, scores."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt1.data.packing import Batch
from gpt1.errors import ConfigError, counted
from gpt1.model.build import Model, build_model, grow_vocabulary
from gpt1.model.heads import Head
from gpt1.model.transformer import Transformer
from gpt1.tasks.collate import TaskBatch
from gpt1.tasks.kinds import Task, task_from_json
from gpt1.tasks.spec import SPECIAL
from gpt1.text.tokenizer import Tokenizer


def add_special_rows(
    model: Model, tokenizer: Tokenizer, *, generator: torch.Generator | None = None
) -> None:
    """Give tokenizer and model the start, delimiter and extract tokens (spec 2.7).

    New rows are normal(0, 0.02) behind the old ones; old rows and their logits stay as they are.
    """
    tokenizer.add_tokens(SPECIAL)
    grow_vocabulary(model, len(tokenizer), generator=generator)


def transfer(model: Model, n: int | None, *, generator: torch.Generator | None = None) -> None:
    """Keep the embeddings and the first n blocks; initialise the rest anew (spec 4.5.9, 7.1).

    None keeps all, also a head; -1 nothing. Raises ConfigError for more blocks than there are.
    """
    if n is None:
        return
    model.head = None
    blocks = len(model.blocks) if isinstance(model, Transformer) else 0
    if n > blocks:
        raise ConfigError(
            f"task.n_transfer is {n}; this model has {counted(blocks, 'block')}. Use none for all."
        )
    fresh = build_model(model.config, generator=generator).state_dict()
    transferred = ("tokens.", "positions.", *(f"blocks.{i}." for i in range(n))) if n >= 0 else ()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(transferred) and name in fresh:
                parameter.copy_(fresh[name])


def add_head(
    model: Model, task: Task, *, pdrop: float = 0.1, generator: torch.Generator | None = None
) -> str:
    """Put a head for `task` on the model; return what becomes of an earlier one, for people.

    Of a head for the same kind of task, the rows of the classes that `task` has too are kept.
    """
    config, earlier = model.config, model.head
    model.head = Head(
        config.n_embd,
        task.num_outputs,
        pdrop=pdrop,
        std=config.initializer_range,
        generator=generator,
    ).to(model.tokens.weight.device, model.tokens.weight.dtype)
    model.head.task = task.to_json()
    return "" if earlier is None else _keep_rows(earlier, model.head, task)


def trained_task(model: Model, kind: str) -> Task | None:
    """Return the task of a kind that the model's head was trained for, None if there is none."""
    known = None if model.head is None else model.head.task
    trained = None if known is None else task_from_json(known)
    return trained if trained is not None and trained.kind == kind else None


def _keep_rows(earlier: Head, head: Head, task: Task) -> str:
    """Copy the rows that mean the same in two heads; return what is kept and what is new."""
    if earlier.task is None:
        return "what the model's head was trained for is not known: a new one is drawn"
    trained = task_from_json(earlier.task)
    if trained.kind != task.kind:
        return (
            f"the model's head was trained for {trained.kind}: a new one is drawn for {task.kind}"
        )
    rows = task.rows_of(trained)
    with torch.no_grad():
        for new, old in rows.items():
            head.weight[new] = earlier.weight[old]
            head.bias[new] = earlier.bias[old]
    return task.describe_rows(trained, rows)


def hidden(model: Model, batch: Batch, embeddings: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Return the states (B, T, C) of a batch; texts packed into one row do not see one another."""
    device = model.tokens.weight.device
    arrays = (batch.ids, batch.positions, batch.segments)
    ids, positions, segments = (
        None if array is None else torch.from_numpy(array).to(device) for array in arrays
    )
    assert ids is not None
    if embeddings is None:
        return model.hidden(ids, position_ids=positions, segments=segments)
    assert isinstance(model, Transformer)
    return model.hidden(ids, position_ids=positions, segments=segments, embeddings=embeddings)


def scores(
    model: Model, states: Tensor, batch: TaskBatch, task: Task, *, shared: bool = False
) -> Tensor:
    """Return the logits (n, num_scores) of a batch from its states (B, T, C) (spec 5).

    `shared`: the answers of a choice share a dropout mask (spec 4.3.2).
    """
    assert model.head is not None
    extract = torch.from_numpy(batch.extract).to(states.device)
    states = states.flatten(0, 1)[extract]  # (n, S, C)
    with torch.autocast(states.device.type, enabled=False):  # bf16 would make ties of near scores
        return task.logits(model.head, states.to(model.head.weight.dtype), shared=shared)
