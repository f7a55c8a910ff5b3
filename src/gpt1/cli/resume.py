"""gpt1 resume: go on with a run; what started it is in its run.json."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli import options


def resume(
    run: Annotated[Path, typer.Argument(help="The folder of the run.")],
    epochs: Annotated[
        float | None,
        typer.Option(help="A finished run: how many epochs it should have in all."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="A finished run: how many updates it should have in all."),
    ] = None,
    set_: options.Overrides = None,
) -> None:
    """Continue a run that was stopped, or make a finished one longer.

    The files, the model and the settings are those that the run was started with. When a finished
    run is made longer, the model it ended with is kept in RUN/snapshots, and run.json records the
    new length. To train on other rows, start a new run: gpt1 finetune NEW.csv --model RUN --out
    NEWRUN.
    """
    from gpt1.errors import ConfigError
    from gpt1.training.distributed import is_first
    from gpt1.training.resume import read_command

    if epochs is not None and steps is not None:
        raise ConfigError("--epochs and --steps are both given. Leave one of them out.")
    name, arguments = read_command(run, epochs=epochs, steps=steps)
    arguments["set_"] += set_ or ()
    if is_first():
        inputs = arguments.get("files") or [arguments["data"]]
        print(f"gpt1 {name} {', '.join(inputs)}", file=sys.stderr)
    getattr(import_module(f"gpt1.cli.{name}"), name)(**arguments, out=run, resume=True)
