"""gpt1 prepare: text files -> a folder of shards for pre-training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def prepare(
    files: Annotated[
        list[str], typer.Argument(help="txt, jsonl, csv, tsv (also .gz), parquet, hub:owner/name.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    tokenizer: Annotated[Path, typer.Option(help="A folder with a vocabulary, or a model's.")],
    column: Annotated[str | None, typer.Option(help="The column with the text.")] = None,
    words: Annotated[str | None, typer.Option(help="original, slow or fast.")] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Processes here, or Ray (RAY_ADDRESS, else here)."),
    ] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Turn text files into shards for pre-training.

    The shards keep their tokenizer with them: gpt1 pretrain needs nothing else.
    """
    from dataclasses import asdict
    from time import perf_counter

    from gpt1.checkpoint import hub
    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.data.shards import write_shards
    from gpt1.data.tables import Texts
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer

    if engine == "ray":
        from gpt1.data.ray_engine import encode_texts
    else:
        from gpt1.data.parallel import encode_texts

    texts = Texts(files, column, limit)
    start = perf_counter()
    with Progress("preparing", "documents") as shown, without_torch():
        summary = write_shards(
            out,
            texts,
            Tokenizer.load(hub.of_run(tokenizer), words=words),
            workers=workers,
            encode=encode_texts,
            progress=shown.progress,
        )
    seconds = perf_counter() - start
    if json:
        print_json({**asdict(summary), "seconds": round(seconds, 3)})
        return
    print(texts.counts)
    print(
        f"{summary.tokens:,} tokens in {summary.documents:,} documents; "
        f"{summary.bytes / summary.tokens:.2f} bytes a token"
    )
    rate = summary.bytes / 1e6 / seconds
    print(f"{summary.bytes / 1e6:.1f} MB in {seconds:.1f} s ({rate:.1f} MB/s) -> {out}")
