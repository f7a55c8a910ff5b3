"""gpt1 pretrain: train a model on shards from a random start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli import options


def pretrain(
    data: Annotated[Path, typer.Argument(help="Shards made by gpt1 prepare.")],
    out: options.NewRun,
    valid: Annotated[Path | None, typer.Option(help="Shards to validate on.")] = None,
    size: Annotated[str, typer.Option(help="tiny, mini, gpt1, or a .toml file.")] = "gpt1",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="pretrain (the paper's), small-pretrain, or a .toml file.",
            show_default="small-pretrain for mini and tiny, else pretrain",
        ),
    ] = None,
    steps: options.Steps = None,
    epochs: options.Epochs = None,
    lr: options.LearningRate = None,
    batch_size: options.BatchSize = None,
    resume: options.Resume = False,
    config: options.Config = None,
    set_: options.Overrides = None,
) -> None:
    """Train a model on shards from a random start.

    The run's folder holds metrics.jsonl, checkpoints and, at the end, model/ and report.html.
    """
    import gpt1
    from gpt1.training.distributed import is_first

    gpt1.pretrain(
        data, valid=valid, size=size, recipe=recipe, out=out, resume=resume, config=config,
        overrides=options.overrides(set_, steps, epochs, lr, batch_size),
    )  # fmt: skip
    if is_first():  # under torchrun each process comes here
        print(out / "model")
