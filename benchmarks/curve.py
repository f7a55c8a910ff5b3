"""Does our bf16 step learn as the plain float32 step of transformers does?

Both begin with the same weights and read the same windows in the same order, with the release's
Adam and all dropouts at 0.1; what differs is the step. Ours runs a second time with other dropout
masks: how far apart those two are is the noise.

    python benchmarks/curve.py SHARDS --size mini --batch 2 --steps 200 --plot docs/curve.png
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import matplotlib.figure
import numpy as np
import torch

from gpt1.checkpoint import folder
from gpt1.config import OptimizerConfig, ScheduleConfig, load_size
from gpt1.data.batches import WindowBatches
from gpt1.data.shards import Shards
from gpt1.model.allocator import keep_freed_memory
from gpt1.model.losses import linear_cross_entropy
from gpt1.model.transformer import Transformer
from gpt1.training import optimizers, schedules

SMOOTHED = 20
"""Updates in the running mean that is compared."""
NAMES = ("ours, bf16", "ours, bf16, other masks", "transformers, float32")


def train(
    model: torch.nn.Module,
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    batches: WindowBatches,
    steps: int,
    seed: int,
) -> list[float]:
    """Train for `steps` updates; return the loss of each."""
    config = OptimizerConfig(lr=1e-3)
    optimizer = optimizers.build(model, config)
    torch.manual_seed(seed)
    model.train()
    found = []
    for step in range(steps):
        (batch,) = batches.update(step)
        loss = loss_of(torch.from_numpy(batch.ids), torch.from_numpy(batch.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizers.clip(model.parameters(), config.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * schedules.factor(ScheduleConfig(), step, steps)
        optimizer.step()
        found.append(loss.item())
        if (step + 1) % 20 == 0:
            print(f"  update {step + 1}: {np.mean(found[-20:]):.4f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", nargs="?", help="made by gpt1 prepare; skipped without")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.shards is None:
        print("curve.py: skipped, since no shards are given")
        return
    from transformers import OpenAIGPTLMHeadModel

    keep_freed_memory()
    shards = Shards(options.shards)
    config = load_size(options.size).model_copy(update={"vocab_size": shards.summary.vocab_size})
    batches = WindowBatches(shards, config.n_ctx, options.batch, micro_batch_size=None)
    curves: dict[str, list[float]] = {}
    for name in NAMES:
        print(name, flush=True)
        start = Transformer(config, generator=torch.Generator().manual_seed(0))
        if name.startswith("ours"):

            def ours(
                ids: torch.Tensor, labels: torch.Tensor, model: Transformer = start
            ) -> torch.Tensor:
                with torch.autocast("cpu", torch.bfloat16):
                    total, count = linear_cross_entropy(
                        model.hidden(ids), model.tokens.weight, labels
                    )
                return total / count

            curves[name] = train(start, ours, batches, options.steps, seed="other" in name)
        else:
            with tempfile.TemporaryDirectory() as place:
                folder.save(Path(place) / "start", start, None)
                theirs = OpenAIGPTLMHeadModel.from_pretrained(Path(place) / "start")

            def plain(
                ids: torch.Tensor, labels: torch.Tensor, model: torch.nn.Module = theirs
            ) -> torch.Tensor:
                logits = model(ids).logits
                return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())

            curves[name] = train(theirs, plain, batches, options.steps, seed=0)
    kernel = np.ones(SMOOTHED) / SMOOTHED
    smooth = {name: np.convolve(curve, kernel, "valid") for name, curve in curves.items()}
    noise = np.abs(smooth[NAMES[0]] - smooth[NAMES[1]]).max()
    apart = np.abs(smooth[NAMES[0]] - smooth[NAMES[2]]).max()
    relative = np.abs(np.array(curves[NAMES[0]]) / np.array(curves[NAMES[2]]) - 1).max()
    print(f"\n{'update':>8}" + "".join(f"{name:>26}" for name in NAMES))
    for step in range(options.steps // 4, options.steps + 1, options.steps // 4):
        print(f"{step:8}" + "".join(f"{smooth[n][step - SMOOTHED]:26.4f}" for n in NAMES))
    print(f"\nsmoothed over {SMOOTHED}: masks apart {noise:.4f}, steps apart {apart:.4f} nats")
    print(f"single updates: at most {relative:.2%} apart")
    if options.plot:
        figure = matplotlib.figure.Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for (name, curve), style in zip(smooth.items(), ("-", ":", "--"), strict=True):
            axes.plot(np.arange(len(curve)) + SMOOTHED, curve, style, label=name)
        axes.set_xlabel("update")
        axes.set_ylabel(f"loss, nats a token (mean of {SMOOTHED})")
        axes.set_title(f"{options.size}, {options.batch} x {config.n_ctx} tokens of the novels")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(options.plot, dpi=100)
    print(json.dumps({"size": options.size, "noise": noise, "apart": apart, "curves": curves}))


if __name__ == "__main__":
    main()
