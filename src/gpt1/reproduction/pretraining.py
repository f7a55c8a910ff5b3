"""Zero-shot scores over pre-training (figure 2, right), with a tiny model pre-trained for it.

Real text, the one training loop, some minutes: enough to see scores leave chance, or stay there.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from zlib import crc32

from gpt1.config import load_run
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.errors import DataError
from gpt1.evaluation.zero_shot_curves import Point, as_json, curve_tables, draw_curves
from gpt1.evaluation.zero_shot_sets import SETTINGS
from gpt1.reports.sections import Section, Table
from gpt1.reproduction import paper
from gpt1.reproduction.document import Document
from gpt1.reproduction.plan import Display
from gpt1.storage import MANIFEST
from gpt1.text.english import without_torch
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.pretrain import pretrain
from gpt1.training.run import RunOptions

TINY = (
    "train.snapshots=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]",
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
_VOCABULARY = 1024


def pretrain_tiny(
    out: Path, data: Path | str, texts: int, overrides: Sequence[str], display: Display
) -> Path:
    """Pre-train a tiny model on the first `texts` novels of a data folder, and return its run.

    The run is OUT/runs/novels-KEY/tiny, beside its vocabulary and shards; the key is of the texts,
    so that other texts make another run. One that was cut off goes on. Eight novels are about
    1.2 M words. Raises DataError if there are none.
    """
    files = novels(data)
    sizes = [(Path(file).name, Path(file).stat().st_size) for file in files]
    folder = out / "runs" / f"novels-{crc32(repr((texts, sizes)).encode()):08x}"
    shards, run = folder / "text", folder / "tiny"
    if not (shards / MANIFEST).is_file():
        display.status(f"learning a vocabulary of {_VOCABULARY:,} tokens", "")
        with without_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a small text gives a small vocabulary
            read = islice(Texts(files, None, texts), texts)
            tokenizer = Tokenizer.train(read, _VOCABULARY)
        display.status(f"preparing {texts:,} novels", "")
        write_shards(shards, Texts(files, None, texts), tokenizer, workers=1)
    display.status("pre-training a tiny model", "updates")
    config = load_run(size="tiny", recipe="pretrain", overrides=[*TINY, *overrides])
    resume = (run / "run.json").is_file()
    # quiet: the caller's display is the only one
    options = RunOptions(run, resume, quiet=True, progress=display.progress)
    pretrain(shards, None, config, options)
    return run


def novels(data: Path | str) -> list[str]:
    """Return the files of text to pre-train on. Raises DataError if there are none."""
    folder = Path(data) / "novels"
    for pattern in ("train.jsonl*", "train*.txt*", "*.txt"):
        files = sorted(str(path) for path in folder.glob(pattern))
        if files:
            return files
    raise DataError(
        f"{folder} has no train.jsonl.gz and no .txt files, and no run is named. Put text there, "
        f"or give a run with snapshots: --checkpoints RUN."
    )


def figure2_right(curves: Mapping[str, Sequence[Point]], skipped: Sequence[str] = ()) -> Document:
    """Return figure 2, right, of runs (name -> points): picture, values, relative scores."""
    references = "; ".join(
        f"{data} {100 * setting.reference:.1f} ({setting.source})"
        for data, setting in SETTINGS.items()
    )
    notes = (
        "Zero-shot scores of models along their pre-training, nothing fine-tuned. The paper's are "
        f"of {paper.PARAMETERS:,} parameters and 100 epochs of BooksCorpus; ours are of the runs "
        "named below, another model size and another text, on dev rows (DPR: train; WSC273: all).",
        "Relative score: 0 is guessing, 1 the best single model of 2018. The paper names no values "
        f"for it; ours are {references}. In brackets: 95 % bootstrap intervals over rows. Read off "
        "the paper's chart by a third party, its relative scores end at 0.68 (sentiment), 0.55 "
        "(Winograd), 0.43 (acceptability), 0.25 (question answering).",
    )
    return Document(
        "figure2-right",
        "Figure 2, right, anew: zero-shot scores over pre-training",
        (*notes, *skipped),
        tuple(section for run, points in curves.items() for section in _sections(run, points)),
        {"skipped": skipped, **as_json(curves)},
        draw_curves(curves),
    )


def _sections(run: str, points: Sequence[Point]) -> list[Section]:
    names = [result.data for result in points[0].results]
    columns = [f"{n} ({paper.METRICS[SETTINGS[n].metric]}, %)" for n in names]
    values, _ = curve_tables(run, points, columns, intervals=True)
    _, relative = curve_tables(run, points, names)
    assert isinstance(values.content, Table)
    guessing = ["guessing", *(f"{100 * SETTINGS[name].random:.1f}" for name in names)]
    table = Table(values.content.columns, [*values.content.rows, guessing])
    return [Section(values.title, table), relative]
