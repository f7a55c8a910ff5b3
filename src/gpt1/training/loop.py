"""The only training loop: make an update, log it, evaluate, sample and save when due.

Update s is a pure function of (weights, optimizer state, seed, s): its data comes from its number,
and its dropout masks from a generator seeded by it. A checkpoint therefore needs no generator
states to continue bit for bit. All ranks run this loop in step; the first of them writes.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from gpt1.config import RunConfig, TrainConfig
from gpt1.data.batches import Batches, SampleBatches
from gpt1.errors import Interrupted, TrainingError, memory_guard
from gpt1.model.allocator import return_freed_memory
from gpt1.model.build import Model
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import optimizers, schedules
from gpt1.training.distributed import launched, load_weights
from gpt1.training.objectives import Objective
from gpt1.training.progress import TrainingProgress
from gpt1.training.run import Checkpoint, Run, TrainState
from gpt1.training.step import StepResult, Updater
from gpt1.training.tracking import Tensorboard

Sampler = Callable[[Model], str]

_ADVICE = (
    "Lower optimizer.lr, warm up for longer, or train with --set train.dtype=float32; a text full "
    "of damaged characters can do it too."
)


@dataclass(frozen=True)
class TrainSetup:
    """What is trained, on which data, and how it is evaluated.

    `config` is resolved; `metadata` goes into the gpt1.json of each of the run's models; `base` is
    the fingerprint of the model that is trained further.
    """

    model: Model
    tokenizer: Tokenizer
    config: RunConfig
    batches: Batches
    validation: SampleBatches | None
    objective: Objective
    metadata: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""


def train(
    setup: TrainSetup,
    updater: Updater,
    run: Run,
    progress: TrainingProgress,
    steps: int,
    sample: Sampler | None = None,
) -> tuple[int, str]:
    """Train the model in place for `steps` updates; return how many were made, and why it ended.

    Continues from the run's last checkpoint if there is one. With validation batches the best model
    is kept in the run; `sample` writes some text at every evaluation. Raises TrainingError when
    losses or gradients are not finite or memory runs out, and Interrupted after a checkpoint when
    asked to stop.
    """
    config, settings, ranks = setup.config, setup.config.train, updater.ranks
    eval_every = settings.eval_every or max(1, steps // 10)
    # 0.07 * 100 is a little more than 7
    snapshots = {max(1, math.ceil(share * steps - 1e-9)) for share in settings.snapshots}
    state = _restore(updater, run, progress)
    with contextlib.closing(_MetricsLog(run, progress, state, first=ranks.first)) as log:
        if state.step == 0:
            _evaluate(setup, updater, run, log, state)
        started = time.monotonic() - state.seconds
        progress.start(steps, state.step)
        with _stop_signals(alone=not launched()) as stop_signals:
            while state.step < steps and not _out_of_patience(setup, state, steps, eval_every):
                began = time.monotonic()
                batches = setup.batches.update(state.step, ranks.rank, ranks.count)
                waited = time.monotonic() - began
                lr = config.optimizer.lr * schedules.factor(config.schedule, state.step, steps)
                with guard(f"at update {state.step + 1}", settings):
                    result = updater.update(batches, state.step, lr, stop_signals)
                step_seconds = time.monotonic() - began

                state.step += 1
                state.tokens += result.tokens
                state.seconds = time.monotonic() - started
                if result.finite:
                    state.skipped = 0
                    log.write(
                        loss=result.loss,
                        **({} if result.task_loss is None else {"task_loss": result.task_loss}),
                        lr=lr,
                        grad_norm=result.grad_norm,
                        tokens=state.tokens,
                        tokens_per_second=round(result.tokens / step_seconds, 1),
                        seconds=round(state.seconds, 3),
                        loader_share=round(waited / step_seconds, 5),
                    )
                else:
                    _skip(result, state, settings, log)

                last = state.step == steps
                if last or state.step % eval_every == 0:
                    if sample is not None:
                        model = ranks.unshard(updater.model)
                        log.write(sample="" if model is None else sample(model))
                    return_freed_memory()
                    _evaluate(setup, updater, run, log, state)
                if state.step in snapshots:
                    model = ranks.unshard(updater.model)
                    if model is not None:
                        name = f"snapshots/step-{state.step:08d}"
                        run.save_model(name, model, {"step": state.step})

                last = last or _out_of_patience(setup, state, steps, eval_every)
                save_due = state.step % settings.save_every == 0 and result.finite
                if last or save_due or result.stop_signal:
                    _save(run, updater, state)
                if result.stop_signal and not last:
                    how = "--resume" if run.command is None else f"gpt1 resume {run.path}"
                    raise Interrupted(
                        f"stopped after update {state.step} of {steps}, as asked. All is saved in "
                        f"{run.path}; {how} goes on from there.",
                        exit_code=130 if result.stop_signal == signal.SIGINT else 0,
                    )
    reason = "all updates done"
    if state.step < steps:
        epochs = (state.step - state.waiting_since) / setup.batches.steps_per_epoch
        reason = f"no better model in {epochs:.1f} epochs (train.patience)"
    return state.step, reason


class _MetricsLog:
    """Writes the lines of metrics.jsonl and shows them; does nothing on ranks but the first."""

    def __init__(
        self, run: Run, progress: TrainingProgress, state: TrainState, *, first: bool
    ) -> None:
        self._run, self._progress, self._state, self._first = run, progress, state, first
        self._board = None
        if first and run.config.train.tensorboard:
            resumed_at = state.step + 1 if state.step else None
            self._board = Tensorboard(run.path / "tensorboard", resumed_at)

    def close(self) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()

    def write(self, **figures: Any) -> None:
        """Write a line about the last update."""
        self._state.log_lines += 1
        if not self._first:
            return
        line = {"step": self._state.step, **figures}
        self._run.log.append(line)
        self._progress.show(line)
        if self._board is not None:
            self._board.record(line)


def _restore(updater: Updater, run: Run, progress: TrainingProgress) -> TrainState:
    """Load the run's newest sound checkpoint, if there is one; return how far the run is."""
    ranks = updater.ranks
    checkpoint, warnings = run.restore() if ranks.first else (None, [])
    for warning in warnings:
        progress.note(warning)
    path = ranks.broadcast_object(None if checkpoint is None else str(checkpoint.path))
    if path is None:
        return TrainState()
    checkpoint = checkpoint or Checkpoint.read(Path(path))
    load_weights(updater.model, checkpoint.weights)
    optimizers.restore(updater.model, updater.optimizer, checkpoint.optimizer_state)
    progress.note(f"resumed at update {checkpoint.state.step}")
    if ranks.broadcast_object(run.reopened_at) == checkpoint.state.step:
        checkpoint.state.waiting_since = checkpoint.state.step
    return checkpoint.state


def _evaluate(
    setup: TrainSetup, updater: Updater, run: Run, log: _MetricsLog, state: TrainState
) -> None:
    """Evaluate on a part of the validation batches; keep the model if it is the best so far."""
    if setup.validation is None:
        return
    settings, metric = setup.config.train, setup.objective.metric
    with guard(f"in the evaluation after update {state.step}", settings):
        figures = updater.evaluate(setup.validation.once(settings.eval_windows), updater.dtype)
    if not math.isfinite(figures["loss"]):
        raise TrainingError(
            f"after update {state.step} the validation loss is {figures['loss']}; it must be "
            f"finite. The last checkpoint is untouched. {_ADVICE}"
        )
    log.write(**{f"valid_{name}": value for name, value in figures.items()})
    # of two models with the same metric, the one with the lower loss
    rank = [-figures[metric]] if metric else []
    rank.append(figures["loss"])
    if state.step and (state.best is None or rank < state.best):
        state.best, state.waiting_since = rank, state.step
        if settings.keep_best:
            model = updater.ranks.unshard(updater.model)
            if model is not None:
                run.save_model("best", model, {"step": state.step, **figures})


def _skip(result: StepResult, state: TrainState, settings: TrainConfig, log: _MetricsLog) -> None:
    """Log an update that was skipped; raise TrainingError if there are too many in a row."""
    done, size = state.step, settings.batch_size
    state.skipped += 1
    reason = f"the loss is {result.loss} and the gradient norm {result.grad_norm}"
    if state.skipped > settings.max_skipped:
        raise TrainingError(
            f"at update {done} {reason}; both must be finite. Its samples are numbers "
            f"{(done - 1) * size} to {done * size - 1} of the run's stream. "
            + (f"The {settings.max_skipped} before it were left out. " * bool(settings.max_skipped))
            + f"The last checkpoint is untouched. {_ADVICE}"
        )
    log.write(skipped=reason)


def _save(run: Run, updater: Updater, state: TrainState) -> None:
    """Write a checkpoint on the first rank; the others wait for it."""
    ranks = updater.ranks
    model = ranks.unshard(updater.model)
    optimizer_state = ranks.gather(optimizers.state(updater.model, updater.optimizer))
    if model is not None:
        run.save(model, optimizer_state, state)
    ranks.wait_for_first()


def _out_of_patience(setup: TrainSetup, state: TrainState, steps: int, eval_every: int) -> bool:
    """Tell, at an evaluation, whether train.patience epochs have brought no better model."""
    patience = setup.config.train.patience
    if patience is None or state.best is None or state.step % eval_every:
        return False
    epoch = setup.batches.steps_per_epoch
    start = max(state.waiting_since, schedules.warmup_steps(setup.config.schedule, steps))
    return state.step >= max(epoch, start + patience * epoch)


def guard(when: str, settings: TrainConfig) -> contextlib.AbstractContextManager[None]:
    """Return the context that tells what to do if memory runs out."""
    return memory_guard(
        f"{when}. The last checkpoint is untouched: free some memory and --resume, or start a run "
        f"with a smaller train.micro_batch_size ({settings.micro_batch_size} now).",
        TrainingError,
    )


@contextlib.contextmanager
def _stop_signals(*, alone: bool) -> Iterator[list[int]]:
    """Collect the first SIGINT, SIGTERM or SIGHUP in a list that the loop reads between updates.

    A second signal finds the earlier handlers again and stops the process at once. Under torchrun
    only SIGINT does, since SIGTERM comes twice there: from the queue and from the launcher.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may handle signals
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for other, handler in before.items():
            if alone or other == signal.SIGINT:
                signal.signal(other, handler)

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
