"""A tiny model pre-trained on novels within minutes, for figure 2, right, where no run is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

from gpt1.config import load_run
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.errors import DataError
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
"""Small batches, a higher rate than the paper's and a long warm-up: otherwise the model learns
little but the frequencies of words within a million tokens."""
_VOCABULARY = 1024


def pretrain_tiny(
    out: Path, data: Path | str, texts: int, overrides: Sequence[str], display: Display
) -> Path:
    """Pre-train a tiny model on the first `texts` novels of a data folder, and return its run.

    The run is OUT/runs/novels-KEY/tiny; KEY depends on the texts, so other texts make another run.
    A run that was cut off goes on. Eight novels are about 1.2 M words. Raises DataError.
    """
    files = _find_novels(data)
    novels = Texts(files, limit=texts)
    sizes = [(Path(file).name, Path(file).stat().st_size) for file in files]
    folder = out / "runs" / f"novels-{crc32(repr((texts, sizes)).encode()):08x}"
    shards, run = folder / "text", folder / "tiny"
    if not (shards / MANIFEST).is_file():
        display.status(f"learning a vocabulary of {_VOCABULARY:,} tokens", "")
        with without_torch(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a small text gives a small vocabulary
            tokenizer = Tokenizer.train(novels, _VOCABULARY)
        display.status(f"preparing {texts:,} novels", "")
        write_shards(shards, novels, tokenizer, workers=1)
    display.status("pre-training a tiny model", "updates")
    config = load_run(size="tiny", recipe="pretrain", overrides=[*TINY, *overrides])
    resume = (run / "run.json").is_file()
    pretrain(shards, None, config, RunOptions(run, resume, quiet=True, progress=display.progress))
    return run


def _find_novels(data: Path | str) -> list[str]:
    folder = Path(data) / "novels"
    for pattern in ("train.jsonl*", "train*.txt*", "*.txt"):
        files = sorted(str(path) for path in folder.glob(pattern))
        if files:
            return files
    raise DataError(
        f"{folder} has no train.jsonl.gz and no .txt files to pre-train on. Put text there, or "
        f"give a run with snapshots: --checkpoints RUN."
    )
