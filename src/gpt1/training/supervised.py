"""Supervised fine-tuning on a task, with the auxiliary LM loss (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from gpt1.config import RunConfig
from gpt1.errors import ConfigError, DataError, counted, did_you_mean
from gpt1.model.build import Model, fingerprint
from gpt1.model.transformer import Transformer
from gpt1.tasks import network
from gpt1.tasks.collate import Encoded, TaskBatches, encode
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import distributed, objectives
from gpt1.training.loop import TrainSetup
from gpt1.training.progress import TrainingProgress
from gpt1.training.run import RunOptions
from gpt1.training.trainer import adopt_shape, resolve_config, run_training

_LISTED = 8  # classes whose weights are shown


def finetune(
    model: Model,
    tokenizer: Tokenizer,
    task: Task,
    examples: Sequence[Example],
    validation: Sequence[Example],
    config: RunConfig,
    options: RunOptions,
) -> tuple[Model, Tokenizer]:
    """Train `model` in place on a task, after giving it the special tokens and a head.

    A head that was trained for the same kind of task is kept for the classes that it has. The best
    model by `task.metric` on `validation` is kept, or the last one without validation examples.
    Weights of examples count in training, not in the metric. Raises ConfigError, DataError,
    TrainingError.
    """
    config, base = _check(config, model, task), fingerprint(model)
    task = choose_metric(task, config.task.metric)
    seed = config.train.seed
    tokenizer = tokenizer.with_words(config.data.words or tokenizer.words)
    generator = torch.Generator().manual_seed(seed)
    network.transfer(model, config.task.n_transfer, generator=generator)
    network.add_special_rows(model, tokenizer, generator=generator)
    head = network.add_head(model, task, pdrop=config.task.clf_pdrop, generator=generator)
    examples = [example for example in examples if example.weight]
    if not examples:
        raise DataError("there is no example to train on. Give at least one, of a weight above 0.")
    encoded = encode(examples, task, tokenizer, model.config.n_ctx)
    held_out = encode(validation, task, tokenizer, model.config.n_ctx) if validation else None
    lengths = [data.lengths for data in (encoded, held_out) if data is not None]
    config = resolve_config(config, tokenizer, max(int(n.sum(1).max()) for n in lengths))
    progress = TrainingProgress(config.train.log_every, distributed.console(options.quiet))
    weights: dict[str, float] | None = None
    if config.task.class_weight is not None:
        weights = task.resolve_class_weight(config.task.class_weight, encoded.targets)
        settings = config.task.model_copy(update={"class_weight": weights})
        config = config.model_copy(update={"task": settings})
    if head:
        progress.note(head)
    progress.note(_account(task, encoded, held_out, weights))
    train = config.train
    batches = TaskBatches(
        encoded,
        train.batch_size,
        seed=seed,
        micro_batch_size=train.micro_batch_size,
        weights=task.class_weights(weights, encoded.targets),
    )
    longest = max(int(n.max()) for n in lengths)
    setup = TrainSetup(
        model,
        tokenizer,
        config,
        batches,
        None if held_out is None else TaskBatches(held_out, train.micro_batch_size or 1),
        objectives.supervised(task, config.task, longest),
        metadata={
            "task": task.to_json(),
            "rows": {"train": len(examples), "held_out": len(validation)},
        },
        base=base,
    )
    return run_training(setup, options), tokenizer


def choose_metric(task: Task, metric: str | None) -> Task:
    """Return the task with the metric that chooses its best model. Raises ConfigError."""
    if metric is None:
        return task
    names = task.usable_metrics
    if metric not in names:
        raise ConfigError(
            f"task.metric is {metric!r}; {task.describe()} can be chosen by {', '.join(names)}."
            f"{did_you_mean(metric, names)}"
        )
    return replace(task, metric=metric)


def _check(config: RunConfig, model: Model, task: Task) -> RunConfig:
    config = adopt_shape(config, model)
    unused = config.data.model_fields_set - {"valid_share", "shuffle", "words"}
    if unused:
        raise ConfigError(
            f"data.{sorted(unused)[0]} is set; it is for plain texts and would change nothing in "
            f"a task. Leave it out."
        )
    if config.task.embeddings == "one" and not isinstance(model, Transformer):
        raise ConfigError(
            'task.embeddings is "one"; the LSTM baseline has no positions. Use --recipe supervised.'
        )
    return config.model_copy(update={"task": config.task.model_copy(update={"kind": task.kind})})


def _account(
    task: Task, encoded: Encoded, held_out: Encoded | None, weights: Mapping[str, float] | None
) -> str:
    text, truncated = f"{counted(len(encoded), 'example')} to train on", encoded.truncated
    if held_out is None:
        text += ", none to validate: the last model is kept"
    else:
        text += f", {len(held_out):,} to validate, chosen by {task.metric}"
        truncated += held_out.truncated
    if weights:
        listed = [f"{name} {weight:.3g}" for name, weight in weights.items()]
        text += f"; class weights: {', '.join(listed[:_LISTED])}" + ", ..." * (
            len(listed) > _LISTED
        )
    if truncated:
        are = "is" if truncated == 1 else "are"
        text += f"; {truncated:,} {are} longer than the window and {are} cut (see docs/tasks.md)"
    return text
