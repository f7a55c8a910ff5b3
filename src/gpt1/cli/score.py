"""gpt1 score: how likely the model finds each text of a file."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt1.cli import options, task_files
from gpt1.cli.units import Engine, Work, compute, texts_in_units

if TYPE_CHECKING:
    from gpt1.generation.explain import Score
    from gpt1.pipeline import GPT1

_COLUMNS = ("loss", "perplexity", "logprob", "tokens")


def score(
    files: options.Files,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the scores to this .csv or .jsonl file; .jsonl also has the "
            "log-probability of each token.",
            show_default="stdout, as csv",
        ),
    ] = None,
    model: options.Model = "mini",
    column: options.OneTextColumn = None,
    delimiter: options.Delimiter = None,
    encoding: options.Encoding = None,
    header: options.Header = None,
    lines: options.Lines = None,
    limit: options.Limit = None,
    allow_unknown: options.AllowUnknown = False,
    dtype: options.Dtype = "float32",
    engine: Engine = "local",
    force: options.Force = False,
) -> None:
    """Write how likely the model finds each text: one row out for each row in, in the same order.

    `loss` is in nats per token, `perplexity` is its exponential, `logprob` is the log-probability
    of the text given its first token, and `tokens` is the number of tokens. A row that cannot be
    used stays empty, as does a text of fewer than two tokens or longer than the model reads.
    """
    from gpt1 import storage
    from gpt1.text.unknown import check_unknown

    ending, present = ".csv", False
    if out is not None:
        present = options.check_file("--out", out, ".csv", ".jsonl", force=force)
        ending = out.suffix.lower()
    scores = _Scores(model, dtype)
    read_options = options.reading(delimiter, encoding, header, lines)
    units = texts_in_units(files, task_files.one_column(column), limit, read_options)
    first = [text for text in next(iter(units), []) if text]
    check_unknown(first, scores.gpt.tokenizer, allow=allow_unknown)
    results = compute(engine, units, scores, out, "scoring")
    rejected: Counter[str] = sum((reasons for _, reasons in results), Counter())
    for reason, count in rejected.items():
        units.counts.reject(reason, count)
    print(units.counts.report(), file=sys.stderr)

    def content() -> Iterator[str]:
        if ending == ".csv":
            yield ",".join(_COLUMNS) + "\n"
        for found, _ in results:
            yield _format(found, ending)

    if out is not None:
        storage.write_file(out, (part.encode() for part in content()), replace=present)
        print(out)
    else:
        for part in content():
            print(part, end="")


class _Scores(Work):
    """Texts -> scores, None for a text without one, and how many there are of those, by reason."""

    def __init__(self, model: str, dtype: str) -> None:
        super().__init__(model)
        self._dtype = dtype

    @cached_property
    def gpt(self) -> GPT1:
        import gpt1

        return gpt1.load(self.model, dtype=self._dtype)

    def __call__(self, unit: list[str | None]) -> tuple[Any, ...]:
        from gpt1.generation.explain import score_ids

        gpt = self.gpt
        rejected: Counter[str] = Counter()
        rows = gpt.tokenizer.encode_batch(text or "" for text in unit)
        for i, text in enumerate(unit):
            if text is not None and not 2 <= len(rows[i]) <= gpt.config.n_ctx:
                few = len(rows[i]) < 2
                rejected["less than two tokens" if few else "longer than the model reads"] += 1
        used = [i for i, row in enumerate(rows) if 2 <= len(row) <= gpt.config.n_ctx]
        scores: list[Score | None] = [None] * len(unit)
        for i, found in zip(used, score_ids(gpt.scorer(), [rows[i] for i in used]), strict=True):
            scores[i] = found
        return scores, rejected


def _format(scores: Sequence[Score | None], ending: str) -> str:
    text = io.StringIO()
    if ending == ".jsonl":
        empty = dict.fromkeys(("loss", "perplexity", "ids", "logprobs"))
        for score in scores:
            text.write(json.dumps(vars(score) if score else empty) + "\n")
        return text.getvalue()
    writer = csv.writer(text, lineterminator="\n")
    for score in scores:
        if score is None:
            writer.writerow([""] * len(_COLUMNS))
        else:
            numbers = (score.loss, score.perplexity, sum(score.logprobs))
            writer.writerow([*(f"{number:.6f}" for number in numbers), len(score.ids)])
    return text.getvalue()
