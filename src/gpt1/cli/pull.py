"""gpt1 pull: a model's name -> its files on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pull(
    name: Annotated[str, typer.Argument(help="owner/name of a model on the hub.")],
    out: Annotated[Path | None, typer.Option(help="Put the files into this folder.")] = None,
) -> None:
    """Fetch a model from the hub and print where it is.

    It stays in the hub's cache (HF_HOME), where --model owner/name finds it again, also offline.
    """
    from gpt1.checkpoint import hub

    print(hub.resolve(name) if out is None else hub.pull(name, out))
