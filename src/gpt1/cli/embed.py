"""gpt1 embed: a vector for each text of a file."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt1.cli import options, task_files


def embed(
    files: options.Files,
    out: Annotated[Path, typer.Option(help="Write the vectors to this .npy file.")],
    model: options.Model = "mini",
    column: options.TextColumn = None,
    pool: Annotated[
        Literal["mean", "last", "extract"],
        typer.Option(
            help="The mean over a text's tokens, its last token, or the extract token of a model "
            "that was fine-tuned on a task."
        ),
    ] = "mean",
    layer: Annotated[
        int, typer.Option(help="0 is the embeddings, 1 the first block, -1 the last one.")
    ] = -1,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    lines: options.Lines = None,
    limit: options.Limit = None,
    allow_unknown: options.AllowUnknown = False,
    force: options.Force = False,
) -> None:
    """Write a vector for each text, as a float32 array (rows, width) for numpy.load.

    One row out for each row in, in the same order; a row that cannot be used is NaN.
    """
    import numpy as np

    import gpt1
    from gpt1 import storage
    from gpt1.cli.progress import Progress
    from gpt1.data.tables import Texts
    from gpt1.generation.embedding import embed as vectors_of
    from gpt1.text.unknown import check_unknown

    present = options.check_file("--out", out, ".npy", force=force)
    gpt = gpt1.load(model)
    read_options = options.reading(delimiter, encoding, header, lines)
    table = Texts(files, task_files.one_column(column), limit, read_options)
    texts = list(table.rows())
    print(table.counts.report(), file=sys.stderr)
    check_unknown([text for text in texts if text], gpt.tokenizer, allow=allow_unknown)
    rows = gpt.tokenizer.encode_batch(text or "" for text in texts)
    used = [i for i, row in enumerate(rows) if row]
    vectors = np.full((len(rows), gpt.config.n_embd), np.nan, np.float32)
    with Progress("embedding", "rows") as shown:
        vectors[used] = vectors_of(
            gpt.transformer(), gpt.tokenizer, [rows[i] for i in used],
            pool=pool, layer=layer, progress=shown.progress,
        )  # fmt: skip
    if missing := len(rows) - len(used):
        count = "row" if missing == 1 else "rows"
        print(f"{missing:,} {count} could not be used and became NaN", file=sys.stderr)
    content = io.BytesIO()
    np.save(content, vectors)
    storage.write_file(out, content.getvalue(), replace=present)
    print(out)
