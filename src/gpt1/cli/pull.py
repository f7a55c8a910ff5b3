"""gpt1 pull: a model's name -> its files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pull(
    name: Annotated[str, typer.Argument(help="The model's owner/name on the hub.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Put the files into this folder instead of the hub's cache."
        ),
    ] = None,
) -> None:
    """Fetch a model from the hub and print its folder.

    The model stays in the hub's cache (HF_HOME), where --model owner/name finds it, offline too.
    """
    from gpt1.checkpoint import hub

    print(hub.resolve(name) if out is None else hub.pull(name, out))
