"""gpt1 pretrain: train a model on shards from a random start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    data: Annotated[Path, typer.Argument(help="Shards made by gpt1 prepare.")],
    out: Annotated[Path, typer.Option(help="The run's folder, made here.")],
    valid: Annotated[Path | None, typer.Option(help="Shards to validate on.")] = None,
    size: Annotated[str, typer.Option(help="tiny, mini, gpt1, or a .toml file.")] = "gpt1",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="pretrain (the paper's), small-pretrain, or a .toml file.",
            show_default="small-pretrain for mini and tiny, else pretrain",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates; else the recipe's epochs.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in OUT.")] = False,
    config: Annotated[Path | None, typer.Option(help="A .toml file of settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.field=value, may be repeated.")
    ] = None,
) -> None:
    """Train a model on shards from a random start.

    The run's folder holds metrics.jsonl, checkpoints and, at the end, model/ and report.html.
    """
    import gpt1
    from gpt1.training.distributed import is_first

    gpt1.pretrain(
        data,
        valid=valid,
        size=size,
        recipe=recipe,
        out=out,
        resume=resume,
        config=config,
        overrides=[*(set_ or []), *([f"train.steps={steps}"] if steps is not None else [])],
    )
    if is_first():  # under torchrun each process comes here
        print(out / "model")
