"""The only training loop: accumulate, clip, step, report, evaluate, save.

Everything that happens in update s is a pure function of (weights, optimizer state, seed, s): the
data of s comes from its number, and the dropout masks from a generator seeded by it. A checkpoint
therefore needs no generator states to continue bit for bit. All ranks run this loop in step
(`distributed`); the first of them writes.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gpt1.config import RunConfig, TrainConfig
from gpt1.data.batches import Batch, Batches
from gpt1.errors import Interrupted, TrainingError
from gpt1.model.build import Model
from gpt1.training import optimizers, schedules
from gpt1.training.distributed import Ranks, launched, load_weights, reshard, unsynchronised
from gpt1.training.objectives import Objective
from gpt1.training.progress import Progress
from gpt1.training.run import Checkpoint, Run
from gpt1.training.tracking import Tensorboard

Evaluator = Callable[[nn.Module], dict[str, float]]
"""From the objective as a module (`distributed.Step`) to figures, {"loss": ...} at least."""
Sampler = Callable[[Model], str]
Judge = Callable[[list[tuple[Batch, Tensor]]], dict[str, float]]
"""From batches and their scores to figures, e.g. {"accuracy": 0.9}."""


@dataclass(frozen=True)
class Result:
    """How a run ended: updates done, and why."""

    steps: int
    reason: str
    step: nn.Module
    """The objective over the model, as all ranks share it."""


def train(
    model: Model,
    batches: Batches,
    objective: Objective,
    evaluate: Evaluator | None,
    sample: Sampler | None,
    *,
    run: Run,
    ranks: Ranks,
    steps: int,
    dtype: torch.dtype,
    progress: Progress,
) -> Result:
    """Train `model` in place for `steps` updates, or on from the run's last checkpoint.

    With `evaluate` the model of the best validation loss is kept in the run; `sample` writes
    something, to be looked at, as often. Raises TrainingError when losses or gradients are no
    longer finite or memory is short, and Interrupted after a checkpoint when asked to stop.
    """
    config, settings = run.config, run.config.train
    step = ranks.wrap(model, objective, config.distributed)
    optimizer = optimizers.build(model, config.optimizer)
    found, warnings = run.restore() if ranks.first else (None, [])
    for warning in warnings:
        progress.note(warning)
    place = ranks.agree(None if found is None else str(found.path))
    if place is not None:
        found = found or Checkpoint.read(Path(place))
        load_weights(model, found.weights)
        optimizers.restore(model, optimizer, found.moments)
    state = {**_START, **(found.state if found is not None else {})}
    if isinstance(state["best"], float):  # of a run begun before tasks had a metric
        state["best"] = [state["best"]]
    board = None
    if settings.tensorboard and ranks.first:
        board = Tensorboard(run.path / "tensorboard", None if found is None else state["step"] + 1)

    def record(line: dict[str, Any]) -> None:
        state["log_lines"] += 1
        if ranks.first:
            run.log.append(line)
            progress.show(line)
        if board is not None:
            board.record(line)

    def look(at: int) -> None:
        """Evaluate and sample after `at` updates; keep the best model."""
        whole = ranks.whole(model)
        if sample is not None and at:
            text = sample(whole) if ranks.first else None
            record({"step": at, "sample": text})
        if evaluate is None:
            return
        figures = ranks.agree(evaluate(step))
        if not math.isfinite(figures["loss"]):
            raise TrainingError(
                f"after update {at} the validation loss is {figures['loss']}; it must be finite. "
                f"The last checkpoint is untouched. {_ADVICE}"
            )
        record({"step": at, **{f"valid_{name}": value for name, value in figures.items()}})
        found = [-figures[objective.metric]] if objective.metric else []
        found.append(figures["loss"])  # of two equal ones, the one of lower loss
        if state["best"] is not None and found >= state["best"]:
            state["worse"] += 1
        elif at:
            state["best"], state["worse"] = found, 0
            if settings.keep_best and ranks.first:
                run.save_best(whole, {"training": {"step": at, **figures}})

    if found is None:
        if evaluate is not None:
            look(0)
    else:
        progress.note(f"resumed at update {state['step']}")
    every = settings.eval_every or max(1, steps // 10)
    # 0.07 * 100 is a little more than 7
    snapshots = {max(1, math.ceil(share * steps - 1e-9)) for share in settings.snapshots}
    started = time.monotonic() - state["seconds"]
    progress.start(steps, state["step"])
    try:
        with _stop_requests(alone=not launched()) as requests:
            while state["step"] < steps and not _exhausted(state, settings):
                update: int = state["step"]
                began = time.monotonic()
                data = batches.update(update, ranks.rank, ranks.count)
                waited = time.monotonic() - began
                rate = config.optimizer.lr * schedules.factor(config.schedule, update, steps)
                try:
                    made = _update(
                        step, data, objective, optimizer, config, rate, dtype, update, ranks,
                        requests,
                    )  # fmt: skip
                except (MemoryError, RuntimeError) as error:
                    if not _is_memory(error):
                        raise
                    raise TrainingError(
                        f"memory ran out at update {update + 1}. The last checkpoint is untouched: "
                        f"free some memory and --resume, or start a run with a smaller "
                        f"train.micro_batch_size ({settings.micro_batch_size} now)."
                    ) from error
                taken = time.monotonic() - began
                state["step"] = done = update + 1
                state["tokens"] += made.tokens
                state["seconds"] = time.monotonic() - started
                finite = math.isfinite(made.loss) and math.isfinite(made.norm)
                if finite:
                    state["skipped"] = 0
                    record(
                        {
                            "step": done,
                            "loss": made.loss,
                            "lr": rate,
                            "grad_norm": made.norm,
                            "tokens": state["tokens"],
                            "tokens_per_second": round(made.tokens / taken, 1),
                            "seconds": round(state["seconds"], 3),
                            "loader_share": round(waited / taken, 5),
                        }
                    )
                else:
                    _skip(state, made, settings, record)
                ended = done == steps
                if ended or done % every == 0:
                    look(done)
                if done in snapshots:
                    whole = ranks.whole(model)
                    if ranks.first:
                        run.save_snapshot(whole, done)
                ended = ended or _exhausted(state, settings)
                due = done % settings.save_every == 0 and finite  # else wait and see
                if ended or made.stop or due:
                    _save(run, ranks, model, optimizer, state)
                if made.stop and not ended:
                    raise Interrupted(
                        f"stopped after update {done} of {steps}, as asked. All is saved in "
                        f"{run.path}; --resume goes on from there.",
                        exit_code=130 if made.stop == signal.SIGINT else 0,
                    )
    finally:
        progress.stop()
        if board is not None:
            board.close()
    reason = "all updates done"
    if _exhausted(state, settings):
        reason = f"no better validation loss in {state['worse']} evaluations"
    return Result(state["step"], reason, step)


_START: dict[str, Any] = {
    "step": 0, "log_lines": 0, "best": None, "worse": 0, "skipped": 0, "tokens": 0, "seconds": 0.0,
}  # fmt: skip
_ADVICE = (
    "Lower optimizer.lr, warm up for longer, or train with --set train.dtype=float32; a text full "
    "of damaged characters can do it too."
)


@dataclass(frozen=True)
class _Made:
    """What an update came to, over all ranks; `stop` is the signal if any is asked to stop."""

    loss: float
    norm: float
    tokens: int
    stop: int


def _update(
    step: nn.Module,
    batches: list[Batch],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    rate: float,
    dtype: torch.dtype,
    update: int,
    ranks: Ranks,
    requests: Sequence[int] = (),
) -> _Made:
    """Make one update from this rank's micro-batches, unless its loss is not finite."""
    step.train()
    names = list(objective.weights)
    counted = [objective.counts(batch) for batch in batches]
    tokens = float(sum(batch.targets for batch in batches))
    *counts, tokens = ranks.sum([*(sum(c[name] for c in counted) for name in names), tokens])
    totals = dict(zip(names, counts, strict=True))
    divisors = totals if objective.averaged else dict.fromkeys(names, 1.0)
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    sample = ranks.rank * config.train.batch_size // ranks.count  # its number within the update
    for i, batch in enumerate(batches):
        torch.manual_seed(_seed(config.train.seed, update, sample))  # dropout's masks
        sample += batch.samples
        with unsynchronised(step, last=i + 1 == len(batches)):
            with autocast(step, dtype):
                terms = step(batch)
            loss = sum(objective.weights[name] / divisors[name] * terms[name] for name in names)
            assert isinstance(loss, torch.Tensor)
            loss = loss * ranks.count  # the ranks' gradients are averaged, not summed
            loss.backward()  # type: ignore[no-untyped-call]
        for name in names:
            sums[name] += terms[name].detach()
    asked = [float(bool(requests)), float(signal.SIGINT in requests)]
    *losses, stops, interrupts = ranks.sum([*(float(sums[name]) for name in names), *asked])
    value = sum(
        objective.weights[name] * loss / totals[name]
        for name, loss in zip(names, losses, strict=True)
    )
    norm = optimizers.clip(step.parameters(), config.optimizer.max_grad_norm)
    if math.isfinite(value) and math.isfinite(norm):
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        optimizer.step()
    stop = signal.SIGINT if interrupts else signal.SIGTERM if stops else 0
    return _Made(value, norm, int(tokens), stop)


def _skip(
    state: dict[str, Any],
    made: _Made,
    settings: TrainConfig,
    record: Callable[[dict[str, Any]], None],
) -> None:
    """Take note of an update that was left out; raise TrainingError if it is one too many."""
    done, size = state["step"], settings.batch_size
    state["skipped"] += 1
    found = f"the loss is {made.loss} and the gradient norm {made.norm}"
    if state["skipped"] > settings.max_skipped:
        raise TrainingError(
            f"at update {done} {found}; both must be finite. Its samples are numbers "
            f"{(done - 1) * size} to {done * size - 1} of the run's stream. "
            + (f"The {settings.max_skipped} before it were left out. " * bool(settings.max_skipped))
            + f"The last checkpoint is untouched. {_ADVICE}"
        )
    record({"step": done, "skipped": found})


def _save(
    run: Run,
    ranks: Ranks,
    model: Model,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
) -> None:
    whole = ranks.whole(model)
    moments = ranks.gather(optimizers.state(model, optimizer))
    if ranks.first:
        run.save(whole, moments, state)
    ranks.agree(None)  # nobody leaves before it is written


def _exhausted(state: Mapping[str, Any], settings: TrainConfig) -> bool:
    return settings.patience is not None and state["worse"] >= settings.patience


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _is_memory(error: BaseException) -> bool:
    """Tell whether an error is about memory; torch's allocator on a CPU has no class of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error)
    )


def evaluator(
    objective: Objective,
    batches: Callable[[], Iterable[Batch]],
    dtype: torch.dtype,
    judge: Judge | None = None,
) -> Evaluator:
    """Return a function that gives the objective's loss over `batches`, without dropout.

    `judge` adds figures made of the batches' scores.
    """

    def evaluate(step: nn.Module) -> dict[str, float]:
        step.eval()
        sums, counts = dict.fromkeys(objective.weights, 0.0), dict.fromkeys(objective.weights, 0.0)
        judged: list[tuple[Batch, Tensor]] = []
        with torch.no_grad(), autocast(step, dtype):
            for batch in batches():
                terms, counted = step(batch), objective.counts(batch)
                for name in objective.weights:
                    sums[name] += float(terms[name])
                    counts[name] += counted[name]
                if judge is not None:
                    judged.append((batch, terms["scores"].cpu()))
        reshard(step)
        loss = sum(objective.weights[name] * sums[name] / counts[name] for name in sums)
        return {"loss": loss, **(judge(judged) if judge is not None else {})}

    return evaluate


def autocast(step: nn.Module, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which matrices are multiplied in `dtype`."""
    device = next(step.parameters()).device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


@contextlib.contextmanager
def _stop_requests(*, alone: bool) -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list, to be looked at between updates.

    A second signal meets the handlers that were there before: it stops at once. Under
    torchrun SIGTERM comes twice, from the queue and from the launcher, so there only SIGINT does.
    """
    requests: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield requests  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number: int, frame: FrameType | None) -> None:
        requests.append(number)
        for each, handler in before.items():
            if alone or each == signal.SIGINT:
                signal.signal(each, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
