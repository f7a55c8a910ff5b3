"""gpt1 embed: a vector for each text of a file."""

from __future__ import annotations

import io
import sys
import warnings
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gpt1.cli import options, task_files
from gpt1.cli.units import Engine, Work, compute, texts_in_units
from gpt1.errors import Note

if TYPE_CHECKING:
    from gpt1.generation.embedding import Pool
    from gpt1.pipeline import GPT1


def embed(
    files: options.Files,
    out: Annotated[Path, typer.Option("--out", "-o", help="Write the vectors to this .npy file.")],
    model: options.Model = "mini",
    column: options.OneTextColumn = None,
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
    engine: Engine = "local",
    force: options.Force = False,
) -> None:
    """Write a vector for each text, as a float32 array (rows, width) for numpy.load.

    One row out for each row in, in the same order; a row that cannot be used is NaN.
    """
    import numpy as np

    from gpt1 import storage
    from gpt1.text.unknown import check_unknown

    present = options.check_file("--out", out, ".npy", force=force)
    vectors_of = _Vectors(model, pool, layer)
    read_options = options.reading(delimiter, encoding, header, lines)
    units = texts_in_units(files, task_files.one_column(column), limit, read_options)
    first = [text for text in next(iter(units), []) if text]
    check_unknown(first, vectors_of.gpt.tokenizer, allow=allow_unknown)
    results = compute(engine, units, vectors_of, out, "embedding")
    print(units.counts.report(), file=sys.stderr)
    rows, cut, missing = map(sum, zip(*((len(v), *n) for v, n in results), strict=True))
    if cut:
        from gpt1.generation.embedding import cut_texts

        print(cut_texts(cut, rows), file=sys.stderr)
    if missing:
        count = "row" if missing == 1 else "rows"
        print(f"{missing:,} {count} could not be used and became NaN", file=sys.stderr)
    head = io.BytesIO()
    shape = (rows, vectors_of.gpt.config.n_embd)
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    content = chain([head.getvalue()], (vectors.tobytes() for vectors, _ in results))
    storage.write_file(out, content, replace=present)
    print(out)


class _Vectors(Work):
    """Texts -> vectors, how many texts are cut, and how many have none."""

    def __init__(self, model: str, pool: Pool, layer: int) -> None:
        super().__init__(model)
        self._pool, self._layer = pool, layer

    @cached_property
    def gpt(self) -> GPT1:
        import gpt1

        return gpt1.load(self.model)

    def __call__(self, unit: list[str | None]) -> tuple[Any, ...]:
        import numpy as np

        from gpt1.generation import embedding

        gpt, pool = self.gpt, self._pool
        rows = gpt.tokenizer.encode_batch(text or "" for text in unit)
        used = [i for i, row in enumerate(rows) if row]
        read = [rows[i] for i in used]
        vectors = np.full((len(rows), gpt.config.n_embd), np.nan, np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Note)  # said once, of all units
            vectors[used] = embedding.embed(
                gpt.transformer(), gpt.tokenizer, read, pool=pool, layer=self._layer
            )
        cut = embedding.too_long(read, gpt.config.n_ctx, pool)
        return vectors, (cut, len(rows) - len(used))
