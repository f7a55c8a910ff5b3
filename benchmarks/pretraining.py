"""What does pre-training bring? The same model on the same jokes, with it and from random weights.

    python benchmarks/pretraining.py [--epochs 12] [--plot docs/pretraining.png] [--out FOLDER]

Fine-tunes `mini` on the 400 jokes of the demo, and a model of the same shape, vocabulary and
settings that has read nothing. Draws the perplexity of the jokes held out over the epochs, and
prints the best of each. A few minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from importlib.resources import files
from pathlib import Path

import gpt1  # isort: skip  before torch, so that waiting threads sleep

import torch

from gpt1.reports.charts import draw_png
from gpt1.reports.formatting import format_perplexity
from gpt1.reports.history import History
from gpt1.reports.sections import Curve, LineChart

JOKES = files("gpt1") / "assets" / "demo" / "jokes.csv"


def validation(gpt: gpt1.GPT1, out: Path, epochs: float) -> tuple[list[float], list[float]]:
    """Fine-tune on the jokes; return epochs and validation losses."""
    to_the_end = [f"train.epochs={epochs}", "train.patience=1000"]
    gpt.finetune(str(JOKES), column="Joke", prefix="JOKE: ", out=out, overrides=to_the_end)
    run = History.read(out)
    lines = [line for line in run.evaluations if "valid_loss" in line]
    share = epochs / lines[-1]["step"]
    return [line["step"] * share for line in lines], [line["valid_loss"] for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=float, default=12.0)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp())
    mini = gpt1.load("mini", dtype="float32")
    blank = gpt1.Transformer(mini.config, generator=torch.Generator().manual_seed(0))
    curves = []
    models = {
        "from random weights": gpt1.GPT1(blank, mini.tokenizer),
        "pre-trained on 73 novels": mini,
    }
    for color, (name, model) in enumerate(models.items()):
        epochs, losses = validation(model, out / name.replace(" ", "-"), options.epochs)
        curves.append(Curve(name, epochs, list(map(math.exp, losses)), color, marker=True))
        first, best = map(format_perplexity, (losses[0], min(losses)))
        print(f"{name}: perplexity {first} -> {best}")
    if options.plot:
        axes = "epochs over the jokes", "perplexity, jokes held out"
        chart = LineChart("", *axes, curves, log_y=True)
        options.plot.write_bytes(draw_png(chart, size=(6, 3)))


if __name__ == "__main__":
    main()
