"""Pre-training: shards in, a run and its model out (paper, section 3.1)."""

from __future__ import annotations

from pathlib import Path

import torch

from gpt1.config import RunConfig
from gpt1.data.batches import Sampling, WindowBatches
from gpt1.data.shards import Shards
from gpt1.errors import ConfigError
from gpt1.model.build import Model, build_model
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import objectives
from gpt1.training.loop import TrainSetup
from gpt1.training.run import RunOptions
from gpt1.training.trainer import EVALUATION_ROWS, resolve_config, run_training


def pretrain(
    data: Path | str, valid: Path | str | None, config: RunConfig, options: RunOptions
) -> tuple[Model, Tokenizer]:
    """Train a model on shards from random weights; see gpt1.pretrain."""
    shards = Shards(data)
    tokenizer = Tokenizer.load(shards.folder)
    held_out = None if valid is None else Shards(valid)
    if held_out is not None:
        held_out.check(tokenizer)
    unused = config.data.model_fields_set - {"pack", "shuffle"}
    if unused:
        raise ConfigError(
            f"data.{sorted(unused)[0]} is set; shards are text already cut into ids, so it would "
            f"change nothing. Leave it out, and give --valid for validation."
        )
    if config.data.pack != "windows":
        raise ConfigError(
            f"data.pack is {config.data.pack!r}; pre-training reads windows. Use gpt1 finetune to "
            f"train on packed documents."
        )
    config = resolve_config(config, tokenizer)
    train, n_ctx = config.train, config.model.n_ctx
    order = Sampling(
        seed=train.seed, shuffle=config.data.shuffle, micro_batch_size=train.micro_batch_size
    )
    batches = WindowBatches(shards, n_ctx, train.batch_size, **order)
    validation = None if held_out is None else WindowBatches(held_out, n_ctx, EVALUATION_ROWS)
    generator = torch.Generator().manual_seed(train.seed)
    model = build_model(config.model, generator=generator)
    objective = objectives.BY_NAME[train.loss]
    setup = TrainSetup(model, tokenizer, config, batches, validation, objective)
    return run_training(setup, options), tokenizer
