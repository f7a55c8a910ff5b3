"""Compare the learning curve of our bf16 step with that of the float32 step of transformers.

Both start from the same weights and read the same windows in the same order, with the release's
Adam and dropout 0.1. Ours also runs with other dropout masks; the distance between these two runs
is the noise.

    python benchmarks/curve.py SHARDS --size mini --batch 2 --steps 200 --plot docs/curve.png
"""

from __future__ import annotations

import argparse
import json
import tempfile
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
"""Number of updates in the running mean."""
NAMES = ("ours, bf16", "ours, bf16, other masks", "transformers, float32")


def loss_of(model: torch.nn.Module, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean loss of ids (B, T): our step in bf16, that of transformers in float32."""
    if not isinstance(model, Transformer):
        logits = model(ids).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
    with torch.autocast("cpu", torch.bfloat16):
        total, count = linear_cross_entropy(model.hidden(ids), model.tokens.weight, labels)
    return total / count


def train(model: torch.nn.Module, batches: WindowBatches, steps: int, seed: int) -> list[float]:
    """Train for `steps` updates and return their losses."""
    config = OptimizerConfig(lr=1e-3)
    optimizer = optimizers.build(model, config)
    torch.manual_seed(seed)
    model.train()
    losses = []
    for step in range(steps):
        (batch,) = batches.update(step)
        loss = loss_of(model, torch.from_numpy(batch.ids), torch.from_numpy(batch.labels))
        optimizer.zero_grad()
        loss.backward()
        optimizers.clip(model.parameters(), config.max_grad_norm)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * schedules.factor(ScheduleConfig(), step, steps)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 20 == 0:
            print(f"  update {step + 1}: {np.mean(losses[-20:]):.4f}", flush=True)
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "shards",
        nargs="?",
        help="Folder written by gpt1 prepare; without it the benchmark is skipped.",
    )
    parser.add_argument("--size", default="mini")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.shards is None:
        print("curve.py: skipped; give a folder of shards")
        return
    from transformers import OpenAIGPTLMHeadModel

    keep_freed_memory()
    shards = Shards(options.shards)
    config = load_size(options.size).model_copy(update={"vocab_size": shards.summary.vocab_size})
    batches = WindowBatches(shards, config.n_ctx, options.batch, micro_batch_size=None)
    curves: dict[str, list[float]] = {}
    for name in NAMES:
        print(name, flush=True)
        model: torch.nn.Module = Transformer(config, generator=torch.Generator().manual_seed(0))
        if name.startswith("transformers"):
            with tempfile.TemporaryDirectory() as place:
                folder.save(Path(place) / "start", model, None)
                model = OpenAIGPTLMHeadModel.from_pretrained(Path(place) / "start")
        curves[name] = train(model, batches, options.steps, seed="other" in name)
    kernel = np.ones(SMOOTHED) / SMOOTHED
    smooth = {name: np.convolve(curve, kernel, "valid") for name, curve in curves.items()}
    noise = np.abs(smooth[NAMES[0]] - smooth[NAMES[1]]).max()
    apart = np.abs(smooth[NAMES[0]] - smooth[NAMES[2]]).max()
    relative = np.abs(np.array(curves[NAMES[0]]) / np.array(curves[NAMES[2]]) - 1).max()
    print(f"\n{'update':>8}" + "".join(f"{name:>26}" for name in NAMES))
    for step in range(options.steps // 4, options.steps + 1, options.steps // 4):
        print(f"{step:8}" + "".join(f"{smooth[n][step - SMOOTHED]:26.4f}" for n in NAMES))
    print(f"\nlargest distance of the means over {SMOOTHED} updates, in nats a token:")
    print(f"other masks {noise:.4f}, transformers {apart:.4f}; of single updates {relative:.2%}")
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
