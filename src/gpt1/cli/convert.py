"""gpt1 convert: a foreign model file -> a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[
        Path, typer.Argument(help="A PyTorch .bin, or a folder with OpenAI's params_*.npy.")
    ],
    out: Annotated[Path, typer.Option(help="The model folder to make.")],
) -> None:
    """Convert a foreign model into a model folder, safely.

    A .bin is a pickle, which can run any program when it is opened the usual way. Here only tensors
    are read from it and everything else is refused. config.json must lie beside it; a vocabulary
    there comes along.
    """
    import sys

    from gpt1.checkpoint import convert as conversion

    loaded = conversion.convert(source, out)
    if loaded.tokenizer is None:
        print(
            f"there is no vocabulary beside {source}, so the model cannot read text yet: copy "
            f"vocab.json and merges.txt there and convert it again.",
            file=sys.stderr,
        )
    print(out)
