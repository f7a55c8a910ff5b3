"""Run by torchrun: print how far the gradients of all ranks are from those of one process."""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from torch import Tensor

from gpt1.config import DistributedConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from gpt1.data.batches import PackBatches
from gpt1.model.transformer import Transformer
from gpt1.training import distributed, loop, objectives, optimizers
from gpt1.training.distributed import Ranks

SHAPE = ModelConfig(vocab_size=40, n_ctx=16, n_embd=16, n_layer=2, n_head=2)  # dropout on
SIZE = 8


def gradients(
    ranks: Ranks, strategy: str, micro: int, dtype: torch.dtype
) -> tuple[dict[str, Tensor], loop._Made]:
    """Return the gradients of one update, and what the loop says of it."""
    random = np.random.default_rng(0)
    docs = [random.integers(0, 40, random.integers(2, 15)) for _ in range(60)]
    batches = PackBatches(docs, 16, SIZE, micro_batch_size=micro)
    model = Transformer(SHAPE, generator=torch.Generator().manual_seed(0)).to(dtype)
    config = RunConfig(
        model=SHAPE,
        optimizer=OptimizerConfig(max_grad_norm=None),
        train=TrainConfig(batch_size=SIZE),
        distributed=DistributedConfig.model_validate({"strategy": strategy}),
    )
    step = ranks.wrap(model, objectives.token_mean, config.distributed)
    optimizer = optimizers.build(model, config.optimizer)
    made = loop._update(
        step, batches.update(1, ranks.rank, ranks.count), objectives.token_mean, optimizer, config,
        0.0, torch.float32, 1, ranks,
    )  # fmt: skip
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return ranks.gather(found), made


def main(ranks: Ranks) -> None:
    """Compare with one process, in each format, cut and strategy."""
    for dtype in (torch.float64, torch.float32):
        for micro in (1, 2, 4):
            one, said = gradients(Ranks(), "ddp", micro, dtype)
            for strategy in ("ddp", "fsdp"):
                several, together = gradients(ranks, strategy, micro, dtype)
                if ranks.first:
                    worst = max(float((several[n] - g).norm() / g.norm()) for n, g in one.items())
                    line = {
                        "dtype": str(dtype), "micro": micro, "strategy": strategy, "worst": worst,
                        "tensors": len(one), "norm": together.norm / said.norm - 1,
                        "loss": together.loss / said.loss - 1,
                        "tokens": together.tokens - said.tokens,
                    }  # fmt: skip
                    print(json.dumps(line))
                    sys.stdout.flush()


if __name__ == "__main__":
    with distributed.join(torch.device("cpu")) as joined:
        main(joined)
