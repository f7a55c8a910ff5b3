"""gpt1 prepare: text files -> a folder of shards for pre-training."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

import typer

from gpt1.cli import options, print_json
from gpt1.errors import counted


def prepare(
    files: options.Files,
    out: options.NewFolder,
    tokenizer: Annotated[Path, typer.Option(help="A folder with a vocabulary, or a model.")],
    column: options.Column = None,
    words: options.Words = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Processes on this machine, or Ray (at RAY_ADDRESS, if that is set)."),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="How many processes to use.", show_default="one per core"),
    ] = None,
    limit: options.Limit = None,
    drop_duplicates: Annotated[
        bool,
        typer.Option(
            "--drop-duplicates", help="Drop exact copies of an earlier document or of one in VALID."
        ),
    ] = False,
    max_overlap: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Drop documents that share more than this fraction, e.g. 0.5, of their runs of 13 "
            "tokens with an earlier one or with VALID, whatever the white space.",
        ),
    ] = None,
    max_unknown: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Drop documents in which the vocabulary lacks more than this fraction of the "
            "characters, e.g. 0.01.",
        ),
    ] = None,
    min_bytes_per_token: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Drop documents with fewer bytes per token than this, e.g. 3: broken text, or "
            "another language.",
        ),
    ] = None,
    valid: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Files to be validated on; may be repeated."),
    ] = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    lines: options.Documents = False,
    allow_unknown: options.AllowUnknown = False,
    json: options.Json = False,
) -> None:
    """Turn text files into shards for pre-training.

    The shards hold their tokenizer too, so gpt1 pretrain needs nothing else. The command
    reports repeated documents and characters that the vocabulary lacks, and keeps them unless an
    option below says otherwise; OUT/dropped.jsonl lists what was dropped.
    """
    from gpt1.checkpoint import hub
    from gpt1.cli.progress import Progress
    from gpt1.data.filters import Filters, Screen
    from gpt1.data.shards import DROPPED, encode_documents, write_shards
    from gpt1.data.tables import Texts
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer
    from gpt1.text.unknown import SAMPLED, check_unknown

    if engine == "ray":
        from gpt1.data.ray_engine import encode_texts
    else:
        from gpt1.data.parallel import encode_texts

    read_options = options.reading(delimiter, encoding, header, lines)
    texts = Texts(files, column, limit, read_options)
    filters = Filters(drop_duplicates, max_overlap, max_unknown, min_bytes_per_token)
    with without_torch():
        loaded = Tokenizer.load(hub.of_run(tokenizer), words=words)
        check_unknown(list(islice(texts, SAMPLED)), loaded, allow=allow_unknown)
    start = perf_counter()
    with Progress("preparing", "documents") as shown, without_torch():
        screen = Screen(loaded, filters)
        if valid:
            held_out = Texts(valid, column, options=read_options)
            screen.hold_out(encode_documents(held_out, loaded, workers, encode_texts))
        summary = write_shards(
            out, texts, loaded, workers=workers, encode=encode_texts, screen=screen,
            progress=shown.progress,
        )  # fmt: skip
    seconds = perf_counter() - start
    if json:
        print_json({**asdict(summary), "seconds": round(seconds, 3)})
        return
    print(texts.counts.report())
    print(screen.quality)
    if summary.dropped:
        print(f"{counted(sum(summary.dropped.values()), 'document')} dropped: {out / DROPPED}")
    print(
        f"{counted(summary.tokens, 'token')} in {counted(summary.documents, 'document')}; "
        f"{summary.bytes / summary.tokens:.2f} bytes a token"
    )
    rate = summary.bytes / 1e6 / seconds
    print(f"{summary.bytes / 1e6:.1f} MB in {seconds:.1f} s ({rate:.1f} MB/s) -> {out}")
