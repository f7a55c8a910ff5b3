"""gpt1 convert: a foreign model file -> a model folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from gpt1.cli import options


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="A PyTorch .bin file, a folder of its parts, or one with OpenAI's params_*.npy."
        ),
    ],
    out: options.NewFolder,
) -> None:
    """Convert a foreign model into a model folder, safely.

    A .bin file is a pickle, which can run any program when it is loaded the usual way. This command
    reads only the tensors in it and refuses everything else. The file's folder must also hold
    config.json; if it holds a vocabulary, that is converted too.
    """
    from gpt1.checkpoint import convert as conversion

    loaded = conversion.convert(source, out)
    if loaded.tokenizer is None:
        print(
            f"there is no vocabulary beside {source}, so the model cannot read text yet: copy "
            f"vocab.json and merges.txt there and convert it again.",
            file=sys.stderr,
        )
    print(out)
