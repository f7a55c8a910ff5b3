"""Twenty updates of `tiny`, in float32 on one thread: a refactor must give the same losses.

After a change of numbers that is meant: `python tests/golden/test_curve.py`, and the curve before
and after goes into docs/experiments.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CURVE = Path(__file__).with_name("tiny.json")
TOLERANCE = 1e-5
"""Relative: float32 sums may be taken in another order by another processor."""


def curve(place: Path) -> dict[str, list[float]]:
    """Train on some short stories; return losses and gradient norms."""
    import torch

    import gpt1
    from gpt1.data.shards import write_shards
    from gpt1.data.tables import Texts
    from gpt1.storage import Log

    torch.set_num_threads(1)
    stories = Path(__file__).with_name("stories.jsonl")
    tokenizer = gpt1.Tokenizer.train(Texts(stories), vocab_size=1024)
    write_shards(place / "shards", Texts(stories), tokenizer, workers=1)
    gpt1.pretrain(
        place / "shards",
        size="tiny",
        recipe="pretrain",
        out=place / "run",
        overrides=["train.steps=20", "train.batch_size=8", "train.micro_batch_size=4",
                   "train.dtype=float32", "train.device=cpu", "optimizer.lr=1e-3",
                   "train.sample_prompt="],
    )  # fmt: skip
    lines = Log(place / "run" / "metrics.jsonl").read()
    return {key: [line[key] for line in lines] for key in ("loss", "grad_norm")}


def test_the_curve_is_the_one_on_record(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, __file__, str(tmp_path)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    record = json.loads(CURVE.read_text())
    now = json.loads(found.stdout)
    assert len(record["loss"]) == 20
    assert record["loss"][0] - record["loss"][-1] > 0.5  # it learns
    for key, values in record.items():
        assert now[key] == pytest.approx(values, rel=TOLERANCE)


if __name__ == "__main__":
    import tempfile

    if len(sys.argv) > 1:
        print(json.dumps(curve(Path(sys.argv[1]))))
    else:
        with tempfile.TemporaryDirectory() as place:
            CURVE.write_text(json.dumps(curve(Path(place)), indent=1) + "\n")
