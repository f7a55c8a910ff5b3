"""One update and one evaluation of a model."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt1.config import RunConfig
from gpt1.data.packing import Batch
from gpt1.model.allocator import Gaps, return_freed_memory
from gpt1.model.build import Model
from gpt1.training import optimizers
from gpt1.training.distributed import Ranks, reshard, unsynchronised
from gpt1.training.objectives import Objective


@dataclass(frozen=True)
class StepResult:
    """The figures of one update, over all ranks."""

    loss: float
    """The weighted sum of the objective's terms."""
    grad_norm: float
    """Before clipping."""
    tokens: int
    """Positions with a label."""
    task_loss: float | None = None
    """A task's part of a loss that holds the LM loss too."""
    stop_signal: int = 0
    """The signal by which a rank was asked to stop, or 0."""

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are finite; if not, the optimizer made no step."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class Updater:
    """Makes the updates of a model: forward, backward, clip, step.

    `module` is the objective over the model, with gradients shared by all ranks; matrices are
    multiplied in `dtype`.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        config: RunConfig,
        ranks: Ranks | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.objective, self.config, self.dtype = model, objective, config, dtype
        self.ranks = ranks or Ranks()
        self.module = self.ranks.wrap(model, objective, config.distributed)
        # after `wrap`, since FSDP replaces the parameters
        self.optimizer = optimizers.build(model, config.optimizer)
        self._gaps = Gaps()

    def update(
        self, batches: Sequence[Batch], number: int, lr: float, stop_signals: Sequence[int] = ()
    ) -> StepResult:
        """Make update `number` from this rank's micro-batches, unless it is not finite.

        `stop_signals` are those that this rank has received.
        """
        ranks, objective = self.ranks, self.objective
        self.module.train()
        counted = [objective.counts(batch) for batch in batches]
        rank_counts = [sum(counts[name] for counts in counted) for name in objective.weights]
        *counts, tokens = ranks.sum([*rank_counts, sum(batch.targets for batch in batches)])
        totals = dict(zip(objective.weights, counts, strict=True))
        rank_losses = self._accumulate(batches, number, totals)
        signals = [bool(stop_signals), signal.SIGINT in stop_signals]
        *losses, stops, interrupts = ranks.sum([*rank_losses, *signals])
        terms = zip(objective.weights.values(), losses, counts, strict=True)
        loss = sum(weight * total / count for weight, total, count in terms)
        norm = optimizers.clip(self.module.parameters(), self.config.optimizer.max_grad_norm)
        stop = signal.SIGINT if interrupts else signal.SIGTERM if stops else 0
        result = StepResult(loss, norm, int(tokens), _task_loss(losses, counts), stop)
        if result.finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        return result

    def release(self) -> None:
        """Drop gradients and the optimizer's state: no update comes any more."""
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()
        return_freed_memory()

    def _accumulate(
        self, batches: Sequence[Batch], number: int, totals: dict[str, float]
    ) -> list[float]:
        """Add up the gradients of the micro-batches; return this rank's sum of each term."""
        ranks, objective, train = self.ranks, self.objective, self.config.train
        divisors = totals if objective.averaged else dict.fromkeys(totals, 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Any] = dict.fromkeys(totals, 0.0)
        sample = ranks.rank * train.batch_size // ranks.count  # its number within the update
        for i, batch in enumerate(batches):
            torch.manual_seed(_seed(train.seed, number, sample))  # dropout's masks
            sample += batch.samples
            with unsynchronised(self.module, last=i + 1 == len(batches)):
                with autocast(self.module, self.dtype):
                    terms = self.module(batch)
                loss = sum(objective.weights[n] / divisors[n] * terms[n] for n in totals)
                assert isinstance(loss, torch.Tensor)
                loss = loss * ranks.count  # the ranks' gradients are averaged, not summed
                loss.backward()  # type: ignore[no-untyped-call]
            for name in totals:
                sums[name] += terms[name].detach()
            self._gaps.limit()
        return [float(total) for total in sums.values()]

    def evaluate(self, batches: Iterable[Batch], dtype: torch.dtype) -> dict[str, float]:
        """Return the loss over `batches` without dropout, and the objective's metric if it has one.

        Every rank evaluates all of them; the figures returned are rank 0's.
        """
        objective, weights = self.objective, self.objective.weights
        sums, counts = dict.fromkeys(weights, 0.0), dict.fromkeys(weights, 0.0)
        scored: list[tuple[Batch, Tensor]] = []
        self.module.eval()
        with torch.no_grad(), autocast(self.module, dtype):
            for batch in batches:
                terms, counted = self.module(batch), objective.counts(batch)
                for name in weights:
                    sums[name] += float(terms[name])
                    counts[name] += counted[name]
                if objective.compute_metrics is not None:
                    scored.append((batch, terms["scores"].cpu()))
                self._gaps.limit()
        reshard(self.module)
        figures: dict[str, float] = {
            "loss": sum(weights[name] * sums[name] / counts[name] for name in sums)
        }
        if objective.compute_metrics is not None:
            figures |= objective.compute_metrics(scored)
        if (task_loss := _task_loss([*sums.values()], [*counts.values()])) is not None:
            figures["task_loss"] = task_loss
        figures = self.ranks.broadcast_object(figures)
        return figures


def _task_loss(sums: Sequence[float], counts: Sequence[float]) -> float | None:
    """Return the mean of the first of several terms: a task's loss, which the LM loss follows."""
    return sums[0] / counts[0] if len(sums) > 1 else None


def autocast(module: nn.Module, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which matrices are multiplied in `dtype`."""
    device = next(module.parameters()).device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
