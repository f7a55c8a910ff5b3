"""The only training loop: accumulate, clip, step, report, evaluate, save.

Everything that happens in update s is a pure function of (weights, optimizer state, seed, s): the
data of s comes from its number, and the dropout masks from a generator seeded by it. A checkpoint
therefore needs no generator states to continue bit for bit.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch

from gpt1.config import RunConfig, TrainConfig
from gpt1.data.batches import Batch, Batches
from gpt1.errors import Interrupted, TrainingError
from gpt1.model.transformer import Transformer
from gpt1.training import optimizers, schedules
from gpt1.training.objectives import Objective
from gpt1.training.progress import Progress
from gpt1.training.run import Run

Evaluator = Callable[[Transformer], dict[str, float]]


@dataclass(frozen=True)
class Result:
    """How a run ended: updates done, and why."""

    steps: int
    reason: str


def train(
    model: Transformer,
    batches: Batches,
    objective: Objective,
    evaluate: Evaluator | None,
    *,
    run: Run,
    steps: int,
    dtype: torch.dtype,
    progress: Progress,
) -> Result:
    """Train `model` in place for `steps` updates, or on from the run's last checkpoint.

    `evaluate` returns at least {"loss": validation loss}; with it the best model is kept in the
    run. Raises TrainingError when the loss or the gradients are no longer finite, and Interrupted
    after a checkpoint when the process is asked to stop.
    """
    config, settings = run.config, run.config.train
    optimizer = optimizers.build(model, config.optimizer)
    state, warnings = run.restore(model, optimizer)
    for warning in warnings:
        progress.note(warning)
    if state is None:
        state = {"step": 0, "log_lines": 0, "best": None, "worse": 0, "tokens": 0, "seconds": 0.0}
        if evaluate is not None:
            _record(run, state, {"step": 0, **_prefixed(evaluate(model))}, progress)
    else:
        progress.note(f"resumed at update {state['step']}")
    every = settings.eval_every or max(1, steps // 10)
    started = time.monotonic() - state["seconds"]
    progress.start(steps, state["step"])
    try:
        with _stop_requests() as requests:
            while state["step"] < steps and not _exhausted(state, settings):
                step: int = state["step"]
                began = time.monotonic()
                rate = config.optimizer.lr * schedules.factor(config.schedule, step, steps)
                loss, norm, tokens = _update(
                    model, batches.update(step), objective, optimizer, config, rate, dtype, step
                )
                state["step"] = step + 1
                state["tokens"] += tokens
                state["seconds"] = time.monotonic() - started
                _record(
                    run,
                    state,
                    {
                        "step": step + 1,
                        "loss": loss,
                        "lr": rate,
                        "grad_norm": norm,
                        "tokens": state["tokens"],
                        "tokens_per_second": round(tokens / (time.monotonic() - began), 1),
                        "seconds": round(state["seconds"], 3),
                    },
                    progress,
                )
                done = step + 1 == steps
                if evaluate is not None and (done or (step + 1) % every == 0):
                    found = evaluate(model)
                    _record(run, state, {"step": step + 1, **_prefixed(found)}, progress)
                    if state["best"] is None or found["loss"] < state["best"]:
                        state["best"], state["worse"] = found["loss"], 0
                        if settings.keep_best:
                            run.save_best(model, {"training": {"step": step + 1, **found}})
                    else:
                        state["worse"] += 1
                done = done or _exhausted(state, settings)
                if done or requests or (step + 1) % settings.save_every == 0:
                    run.save(model, optimizer, state)
                if requests and not done:
                    raise Interrupted(
                        f"stopped after update {step + 1} of {steps}, as asked. All is saved in "
                        f"{run.path}; --resume goes on from there.",
                        exit_code=130 if requests[0] == signal.SIGINT else 0,
                    )
    finally:
        progress.stop()
    reason = "all updates done"
    if _exhausted(state, settings):
        reason = f"no better validation loss in {state['worse']} evaluations"
    if state["best"] is not None and settings.keep_best:
        run.load_best(model)
    return Result(state["step"], reason)


def _exhausted(state: Mapping[str, Any], settings: TrainConfig) -> bool:
    return settings.patience is not None and state["worse"] >= settings.patience


def _update(
    model: Transformer,
    batches: list[Batch],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    rate: float,
    dtype: torch.dtype,
    step: int,
) -> tuple[float, float, int]:
    """Make one update from its micro-batches; return loss, gradient norm and target tokens."""
    model.train()
    totals = _totals(objective, batches)
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Any] = dict.fromkeys(totals, 0.0)
    for i, batch in enumerate(batches):
        torch.manual_seed(_seed(config.train.seed, step, i))  # dropout's masks
        with autocast(model, dtype):
            terms = objective.sums(model, batch)
        divisors = totals if objective.averaged else dict.fromkeys(totals, 1.0)
        loss = sum(objective.weights[name] / divisors[name] * term for name, term in terms.items())
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        for name, term in terms.items():
            sums[name] += term.detach()
    value = float(sum(objective.weights[name] * sums[name] / totals[name] for name in sums))
    norm = float(optimizers.clip(model.parameters(), config.optimizer.max_grad_norm))
    if not math.isfinite(value) or not math.isfinite(norm):
        raise TrainingError(
            f"at update {step + 1} the loss is {value} and the gradient norm {norm}; both must be "
            f"finite. The last checkpoint is untouched. Lower optimizer.lr, warm up for longer, or "
            f"train with --set train.dtype=float32."
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return value, norm, sum(batch.targets for batch in batches)


def evaluator(
    objective: Objective, batches: Callable[[], Iterable[Batch]], dtype: torch.dtype
) -> Evaluator:
    """Return a function that gives the objective's loss over `batches`, without dropout."""

    def evaluate(model: Transformer) -> dict[str, float]:
        model.eval()
        sums, counts = dict.fromkeys(objective.weights, 0.0), dict.fromkeys(objective.weights, 0.0)
        with torch.inference_mode(), autocast(model, dtype):
            for batch in batches():
                for name, term in objective.sums(model, batch).items():
                    sums[name] += float(term)
                for name, count in objective.counts(batch).items():
                    counts[name] += count
        loss = sum(objective.weights[name] * sums[name] / counts[name] for name in sums)
        return {"loss": loss}

    return evaluate


def autocast(model: Transformer, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which matrices are multiplied in `dtype`."""
    device = model.tokens.weight.device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def _totals(objective: Objective, batches: list[Batch]) -> dict[str, float]:
    totals = dict.fromkeys(objective.weights, 0.0)
    for batch in batches:
        for name, count in objective.counts(batch).items():
            totals[name] += count
    return totals


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _prefixed(found: Mapping[str, float]) -> dict[str, float]:
    return {f"valid_{name}": value for name, value in found.items()}


def _record(run: Run, state: dict[str, Any], record: dict[str, Any], progress: Progress) -> None:
    run.log.append(record)
    state["log_lines"] += 1
    progress.show(record)


@contextlib.contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list, to be looked at between updates.

    A second signal meets the handlers that were there before: it stops at once.
    """
    requests: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield requests  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: FrameType | None) -> None:
        requests.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
