"""Run by torchrun: print how far the gradients of all ranks are from those of one process."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from torch import Tensor

from gpt1.config import (
    DistributedConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    TaskConfig,
    TrainConfig,
)
from gpt1.data.batches import Batches, PackBatches
from gpt1.model.transformer import Transformer
from gpt1.tasks import network
from gpt1.tasks.collate import Encoded, TaskBatches
from gpt1.tasks.kinds import Choice, Classification, Similarity, Task
from gpt1.training import distributed, objectives
from gpt1.training.distributed import Ranks
from gpt1.training.step import StepResult, Updater

SHAPE = ModelConfig(vocab_size=40, n_ctx=16, n_embd=16, n_layer=2, n_head=2)  # dropout on
SIZE = 8


TASKS = {
    "lm": None,
    "classification": Classification(("a", "b", "c")),
    "similarity": Similarity(("a", "b")),
    "choice": Choice(answers=3),
}


def task_batches(task: Task, micro: int) -> TaskBatches:
    """Return batches of random sequences and labels."""
    random = np.random.default_rng(0)
    rows = [random.integers(0, 40, random.integers(4, 15)) for _ in range(60 * task.num_sequences)]
    ids = np.concatenate([[*row, 0] for row in rows]).astype(np.uint32)
    offsets = np.cumsum([0, *(len(row) + 1 for row in rows)])
    targets = np.eye(task.num_scores)[random.integers(0, task.num_scores, 60)]
    positions = np.diff(offsets).reshape(60, -1) - 2  # that of the last id
    encoded = Encoded(task, ids, offsets, positions, np.arange(61), targets, 0, 16, np.ones(60))
    weights = np.where(targets[:, 0] == 1, 2.0, 1.0)
    return TaskBatches(encoded, SIZE, micro_batch_size=micro, weights=weights)


def gradients(
    ranks: Ranks, kind: str, strategy: str, micro: int, dtype: torch.dtype
) -> tuple[dict[str, Tensor], StepResult]:
    """Return the gradients of one update, and what the loop says of it."""
    generator = torch.Generator().manual_seed(0)
    model = Transformer(SHAPE, generator=generator)
    task = TASKS[kind]
    if task is None:
        random = np.random.default_rng(0)
        docs = [random.integers(0, 40, random.integers(2, 15)) for _ in range(60)]
        batches: Batches = PackBatches(docs, 16, SIZE, micro_batch_size=micro)
        objective = objectives.token_mean
    else:
        batches = task_batches(task, micro)
        network.add_head(model, task, generator=generator)
        objective = objectives.supervised(task, TaskConfig(), 16)
    model = model.to(dtype)
    config = RunConfig(
        model=SHAPE,
        optimizer=OptimizerConfig(max_grad_norm=None),
        train=TrainConfig(batch_size=SIZE),
        distributed=DistributedConfig.model_validate({"strategy": strategy}),
    )
    updater = Updater(model, objective, config, ranks)
    result = updater.update(batches.update(1, ranks.rank, ranks.count), 1, lr=0.0)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return ranks.gather(found), result


def main(ranks: Ranks) -> None:
    """Compare with one process: each kind of task, each format, cut and strategy."""
    cases = [("lm", dtype, m) for dtype in (torch.float64, torch.float32) for m in (1, 2, 4)]
    cases += [(kind, torch.float64, 2) for kind, task in TASKS.items() if task is not None]
    for kind, dtype, micro in cases:
        one, said = gradients(Ranks(), kind, "ddp", micro, dtype)
        for strategy in ("ddp", "fsdp"):
            several, together = gradients(ranks, kind, strategy, micro, dtype)
            if ranks.first:
                largest = max(float(g.norm()) for g in one.values())
                worst = max(
                    float((several[n] - g).norm() / max(float(g.norm()), 1e-12 * largest))
                    for n, g in one.items()
                    if n != "head.bias" or kind != "choice"  # there it cancels (spec 4.3.3)
                )
                line = {
                    "kind": kind,
                    "dtype": str(dtype),
                    "micro": micro,
                    "strategy": strategy,
                    "worst": worst,
                    "tensors": len(one),
                    "norm": together.grad_norm / said.grad_norm - 1,
                    "loss": together.loss / said.loss - 1,
                    "tokens": together.tokens - said.tokens,
                }
                print(json.dumps(line))
                sys.stdout.flush()


if __name__ == "__main__":
    with distributed.join(torch.device("cpu")) as joined:
        main(joined)
