"""Zero-shot scores over pre-training (figure 2, right), with a tiny model pre-trained for it.

Real text, the one training loop, some minutes: enough to see scores leave chance, or stay there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpt1.data.shards import write_shards
from gpt1.data.tables import open_texts
from gpt1.errors import ConfigError, DataError
from gpt1.evaluation import zero_shot_curves
from gpt1.evaluation.zero_shot_curves import Point
from gpt1.evaluation.zero_shot_sets import SETTINGS
from gpt1.reproduction import paper
from gpt1.reproduction.document import ABSENT, Document, Table
from gpt1.reproduction.plan import Report, silent, watched
from gpt1.storage import MANIFEST, Folder, json_bytes, write_file
from gpt1.text.english import without_torch
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.pretrain import pretrain

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""When a model is kept, as shares of the run."""
SETTINGS_OF_TINY = (
    f"train.snapshots={list(SHARES)}",
    "train.batch_size=8",
    "train.epochs=1",
    "train.keep_checkpoints=1",
    "train.log_every=100",
    "train.sample_prompt=",
    "optimizer.lr=1e-3",
    "schedule.warmup_share=0.3",
)
"""Small batches, a higher rate than the paper's and a long warm-up: with less it would not get
beyond the frequencies of words within a million tokens."""
TEXTS = 8
"""Novels that are read: about 1.2 M words."""
_VOCABULARY = 1024


def pretrain_tiny(
    out: Path | str,
    data: Path | str,
    *,
    texts: int = TEXTS,
    overrides: Sequence[str] = (),
    report: Report = silent,
) -> Path:
    """Pre-train a tiny model on the first novels of a data folder, and return its run.

    The run is OUT/runs/tiny, its vocabulary and shards OUT/runs/tiny-text, of which
    OUT/runs/tiny-text.json says what they were made of; what is there is gone on with. Raises
    DataError if there are no novels, ConfigError if what is there is of other texts.
    """
    place = Path(out) / "runs"
    shards, run, made_of = place / "tiny-text", place / "tiny", place / "tiny-text.json"
    if (shards / MANIFEST).is_file():
        _check_texts(made_of, data, texts)
    else:
        files = novels(data)
        write_file(made_of, json_bytes(_texts(files, texts)))  # before them: never without it
    if not (shards / MANIFEST).is_file():
        report("learning a vocabulary", f"{_VOCABULARY:,} tokens", 0, None)
        with without_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a small text gives a small vocabulary
            read = islice(open_texts(files, None, texts), texts)
            tokenizer = Tokenizer.train(read, _VOCABULARY)
        report("preparing the text", f"{texts:,} novels", 0, None)
        write_shards(shards, open_texts(files, None, texts), tokenizer, workers=1)

    def look() -> None:
        try:
            done = (run / "metrics.jsonl").read_bytes().count(b"\n")
        except OSError:
            done = 0
        report("pre-training a tiny model", f"{done:,} updates", done, None)

    with watched(look):
        pretrain(
            shards,
            valid=None,
            size="tiny",
            recipe="pretrain",
            out=run,
            resume=(run / "run.json").is_file(),
            overrides=[*SETTINGS_OF_TINY, *overrides],
            quiet=True,  # the caller's display is the only one
        )
    return run


def _texts(files: Sequence[str], texts: int) -> dict[str, Any]:
    return {"texts": texts, "files": {Path(f).name: Path(f).stat().st_size for f in files}}


def _check_texts(made_of: Path, data: Path | str, texts: int) -> None:
    """Refuse shards of other texts; those of earlier versions do not say, and are taken."""
    if not made_of.is_file():
        return
    held = Folder(made_of.parent).json(made_of.name)
    try:
        now = _texts(novels(data), texts)
    except DataError:  # nothing to compare with, and nothing is read
        now = held if isinstance(held, dict) and held.get("texts") == texts else {"texts": texts}
    if held != now:
        raise ConfigError(
            f"{made_of.with_suffix('')} was made of other texts ({held}, not {now}). Choose "
            f"another --out, or remove {made_of.parent}."
        )


def novels(data: Path | str) -> list[str]:
    """Return the files of text to pre-train on. Raises DataError if there are none."""
    folder = Path(data) / "novels"
    for pattern in ("train.jsonl*", "train*.txt*", "*.txt"):
        found = sorted(str(path) for path in folder.glob(pattern))
        if found:
            return found
    raise DataError(
        f"{folder} has no train.jsonl.gz and no .txt files, and no run is named. Put text there, "
        f"or give a run with snapshots: --checkpoints RUN."
    )


def figure2_right(curves: Mapping[str, Sequence[Point]], lost: Sequence[str] = ()) -> Document:
    """Return figure 2, right, of runs (name -> points): picture, tables of values and of scores."""
    name = "figure2-right"
    tables = [table for run, points in curves.items() for table in _tables(run, points)]
    notes = (
        "Zero-shot scores of models along their pre-training, nothing fine-tuned. The paper's are "
        f"of {paper.PARAMETERS:,} parameters and 100 epochs of BooksCorpus; ours are of the runs "
        "named below, another model size and another text, on dev rows (DPR: "
        "train; WSC273: all).",
        "Relative score: 0 is guessing, 1 the best single model of 2018. The paper names no values "
        "for it; ours are " + "; ".join(
            f"{data} {100 * one.reference:.1f} ({one.source})" for data, one in SETTINGS.items()
        ) + ". In brackets: 95 % bootstrap intervals over rows. Read off the paper's chart by a "
        "third party, its relative scores end at 0.68 (sentiment), 0.55 (Winograd), 0.43 "
        "(acceptability), 0.25 (question answering).",
    )  # fmt: skip
    values: dict[str, Any] = zero_shot_curves.as_json(curves)
    return Document(
        name,
        "Figure 2, right, anew: zero-shot scores over pre-training",
        (*notes, *lost),
        tuple(tables),
        {f"{name}.png": _picture(curves)} if any(curves.values()) else {},
        {"lost": list(lost), **values},
    )


def _picture(curves: Mapping[str, Sequence[Point]]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "curves.png"
        zero_shot_curves.write_curves(path, curves)
        return path.read_bytes()


def _tables(run: str, points: Sequence[Point]) -> list[Table]:
    names = list(dict.fromkeys(result.data for point in points for result in point.results))
    values, relative = [], []
    for point in points:
        found = {result.data: result for result in point.results}
        values.append((f"{point.step:,}", *(_value(found.get(name)) for name in names)))
        relative.append(
            (
                f"{point.step:,}",
                *(f"{found[n].normalised:.2f}" if n in found else ABSENT for n in names),
            )
        )
    head = ("updates", *(f"{n} ({paper.METRICS[SETTINGS[n].metric]}, %)" for n in names))
    guessing = ("guessing", *(f"{100 * SETTINGS[name].random:.1f}" for name in names))
    return [
        Table(f"{run}: values", head, (*values, guessing)),
        Table(f"{run}: relative scores", ("updates", *names), tuple(relative)),
    ]


def _value(result: Any) -> str:
    if result is None:
        return ABSENT
    return f"{100 * result.value:.1f} ({100 * result.low:.1f} to {100 * result.high:.1f})"
