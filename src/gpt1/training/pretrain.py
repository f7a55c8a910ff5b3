"""Pre-training: shards in, a run and its model out (paper, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from gpt1.config import load_run
from gpt1.data.batches import WindowBatches
from gpt1.data.shards import Shards
from gpt1.errors import ConfigError
from gpt1.model.build import Model, build_model
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import objectives
from gpt1.training.start import EVALUATION_ROWS, run_training, settle


def pretrain(
    data: Path | str,
    *,
    valid: Path | str | None,
    size: str,
    recipe: str,
    out: Path | str,
    resume: bool = False,
    file: Path | str | None = None,
    overrides: Sequence[str] = (),
    quiet: bool = False,
) -> tuple[Model, Tokenizer]:
    """Train a model from a random start; see gpt1.pretrain."""
    shards = Shards(data)
    tokenizer = Tokenizer.load(data)
    held_out = None if valid is None else Shards(valid)
    if held_out is not None:
        held_out.check(tokenizer)
    config = load_run(size=size, recipe=recipe, file=file, overrides=overrides)
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
    config = settle(config, tokenizer)
    train = config.train
    batches = WindowBatches(
        shards,
        config.model.n_ctx,
        train.batch_size,
        seed=train.seed,
        shuffle=config.data.shuffle,
        micro_batch_size=train.micro_batch_size,
    )
    validation = None
    if held_out is not None:
        validation = WindowBatches(held_out, config.model.n_ctx, EVALUATION_ROWS)
    generator = torch.Generator().manual_seed(train.seed)
    model = build_model(config.model, generator=generator)
    model = run_training(
        model,
        tokenizer,
        config,
        batches,
        validation,
        objectives.BY_NAME[config.train.loss],
        out=out,
        resume=resume,
        quiet=quiet,
    )
    return model, tokenizer
