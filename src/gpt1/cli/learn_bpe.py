"""gpt1 learn-bpe: text files -> a folder with a vocabulary of your own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from time import perf_counter
from typing import Annotated

import typer

from gpt1.cli import options, print_json


def learn_bpe(
    files: options.Files,
    out: options.NewFolder,
    vocab_size: Annotated[int, typer.Option(min=2, help="How many tokens to have in all.")] = 8192,
    column: options.Column = None,
    words: Annotated[str, typer.Option(help=options.WORDS)] = "original",
    limit: options.Limit = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    lines: options.Documents = False,
    json: options.Json = False,
) -> None:
    """Learn a vocabulary from text files.

    It is built like GPT-1's: <unk>, the characters, the characters at the end of a word, the
    merges, and newline. Learning stops early when no pair of tokens occurs twice.
    """
    from gpt1.cli.progress import Progress
    from gpt1.data.tables import Texts
    from gpt1.storage import check_free
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer

    read_options = options.reading(delimiter, encoding, header, lines)
    texts = Texts(files, column, limit, read_options)
    check_free(out)
    start = perf_counter()
    shown = Progress("reading", "documents")
    with shown, without_torch(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)

        def counted() -> Iterator[str]:
            for text in texts:
                yield text
                shown.progress(texts.counts.used, 0)
            shown.status("learning", "merges")

        tokenizer = Tokenizer.train(counted(), vocab_size, words, progress=shown.progress)
    tokenizer.save(out, replace=False)
    seconds = perf_counter() - start
    for warning in caught:
        shown.console.print(f"note: {warning.message}", style="yellow")
    if json:
        print_json({
            "tokens": len(tokenizer),
            "merges": len(tokenizer.vocabulary.merges),
            "words": tokenizer.words,
            "sha256": tokenizer.fingerprint,
            "rows": texts.counts.rows,
            "seconds": round(seconds, 3),
        })  # fmt: skip
        return
    print(texts.counts.report())
    print(f"{len(tokenizer):,} tokens learned in {seconds:.1f} s -> {out}")
