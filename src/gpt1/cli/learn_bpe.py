"""gpt1 learn-bpe: text files -> a folder with a vocabulary of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def learn_bpe(
    files: Annotated[
        list[str], typer.Argument(help="txt, jsonl, csv, tsv (also .gz), parquet, hub:owner/name.")
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    vocab_size: Annotated[int, typer.Option(min=2, help="Tokens in all.")] = 8192,
    column: Annotated[str | None, typer.Option(help="The column with the text.")] = None,
    words: Annotated[str, typer.Option(help="original, slow or fast.")] = "original",
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many rows.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Learn a vocabulary from text files.

    It has the structure of GPT-1's: <unk>, the characters, the same at a word's end, the merges,
    newline. Learning stops early when no pair of tokens occurs twice.
    """
    import warnings
    from collections.abc import Iterator
    from time import perf_counter

    from gpt1.cli import print_json
    from gpt1.cli.progress import Progress
    from gpt1.data.tables import Texts
    from gpt1.storage import check_free
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer

    texts = Texts(files, column, limit)
    check_free(out)
    start = perf_counter()
    shown = Progress("reading", "documents")
    with shown, without_torch(), warnings.catch_warnings(record=True) as stopped:
        warnings.simplefilter("always", UserWarning)

        def counted() -> Iterator[str]:
            for text in texts:
                yield text
                shown.progress(texts.counts.used, 0)
            shown.status("learning", "merges")

        tokenizer = Tokenizer.train(counted(), vocab_size, words, progress=shown.progress)
    tokenizer.save(out)
    seconds = perf_counter() - start
    for warning in stopped:
        shown.console.print(f"note: {warning.message}", style="yellow")
    if json:
        learnt = {
            "tokens": len(tokenizer),
            "merges": len(tokenizer.vocabulary.merges),
            "words": tokenizer.words,
            "sha256": tokenizer.fingerprint,
        }
        print_json({**learnt, "rows": texts.counts.rows, "seconds": round(seconds, 3)})
        return
    print(texts.counts)
    print(f"{len(tokenizer):,} tokens learnt in {seconds:.1f} s -> {out}")
