"""From a setup to a finished run: what pre-training and fine-tuning share around the loop."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch

from gpt1 import storage
from gpt1.checkpoint import folder
from gpt1.config import RunConfig, SamplingConfig
from gpt1.errors import ConfigError, DataError, Interrupted, TrainingError, counted, first_line
from gpt1.generation import engine
from gpt1.generation.torch_backend import make_backend
from gpt1.model.allocator import keep_freed_memory
from gpt1.model.build import Model
from gpt1.model.device import choose_device, choose_dtype
from gpt1.model.transformer import Transformer
from gpt1.reports.runs import write_report
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import distributed, loop
from gpt1.training.distributed import Ranks
from gpt1.training.estimate import estimate, estimate_memory
from gpt1.training.loop import Sampler, TrainSetup
from gpt1.training.progress import TrainingProgress
from gpt1.training.resume import reopen
from gpt1.training.run import Run, RunOptions
from gpt1.training.step import Updater, autocast

MICRO_TOKENS = 8192
"""Tokens in one forward pass if train.micro_batch_size is not set."""
_MEMORY = 3.6 * 2**30
"""Bytes that a run on a CPU should not exceed: larger models take fewer tokens at a time."""
_SHAPES = 20  # updates whose shapes the estimate takes into account
EVALUATION_ROWS = 8
_FEW_UPDATES = 50
_COMPILE_TOLERANCE = 2e-2  # between a compiled model and the plain one, also in bfloat16
_SAMPLE_TOKENS = 48


def adopt_shape(config: RunConfig, model: Model) -> RunConfig:
    """Return `config` with the shape of the model to be fine-tuned. Raises ConfigError."""
    if "model" in config.model_fields_set:
        raise ConfigError(
            "a setting of model.* is given; fine-tuning keeps the model's shape. Leave it out."
        )
    return config.model_copy(update={"model": model.config})


def resolve_config(config: RunConfig, tokenizer: Tokenizer, longest: int = 0) -> RunConfig:
    """Fill in what `config` leaves to the tokenizer, the machine and the `longest` sample.

    `longest` is its tokens, by default n_ctx.
    """
    device = choose_device(config.train.device)
    dtype = choose_dtype(config.train.dtype, device)
    model = config.model.model_copy(update={"vocab_size": len(tokenizer)})
    length = longest or model.n_ctx
    rows = config.train.micro_batch_size
    if rows is None:
        rows = max(1, min(config.train.batch_size, MICRO_TOKENS // length))
        if device.type == "cpu":
            while (
                rows > 1 and estimate_memory(model, rows * length, length, device, dtype) > _MEMORY
            ):
                rows -= 1
    train = {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "micro_batch_size": rows,
    }
    return config.model_copy(
        update={"model": model, "train": config.train.model_copy(update=train)}
    )


def run_training(setup: TrainSetup, options: RunOptions) -> Model:
    """Train a model, save the result in OUT/model and return it.

    Under torchrun each process calls this. Raises TrainingError, StorageError if the disk has too
    little room, DataError if the data does not fill one update.
    """
    keep_freed_memory()
    try:
        return _run(setup, options)
    finally:
        keep_freed_memory(False)


def _run(setup: TrainSetup, options: RunOptions) -> Model:
    config, train = setup.config, setup.config.train
    device = distributed.own_device(torch.device(train.device))
    distributed.check(config.distributed, train.batch_size)
    steps = train.steps or setup.batches.steps(train.epochs)
    if not steps:
        raise DataError(
            "the texts do not fill one update. Give more text, or a smaller train.batch_size."
        )
    setup.model.to(device)
    with distributed.join(device) as ranks, contextlib.ExitStack() as stack:
        console = distributed.console(options.quiet)
        language = setup.objective.metric is None  # a task's loss has no perplexity
        progress = TrainingProgress(
            train.log_every,
            console,
            language=language,
            lm_coef=config.task.lm_coef,
            callback=options.progress,
        )
        validation = None if setup.validation is None else setup.validation.fingerprint
        fingerprints = {"data": setup.batches.fingerprint, "validation": validation}
        if setup.base:
            fingerprints["base model"] = setup.base
        run = Run(
            options.out,
            config,
            setup.tokenizer,
            fingerprints,
            resume=options.resume,
            metadata=setup.metadata,
            command=options.command,
        )
        if ranks.first:
            stack.enter_context(run)
            if options.report:
                storage.check_own(run.path / "report.html")
            for note in [*run.notes, reopen(run, steps)]:
                if note:
                    progress.note(note)
        if ranks.broadcast_object(options.resume and run.finished):
            progress.note(f"the run in {run.path} is already finished")
            if ranks.first:  # it may have been killed before this
                run.tidy()
                write_report(run.path)
            return _load_result(run, device)
        _check_ranks(run, ranks)
        if ranks.first:
            run.check_room(setup.model)
        with loop.guard("before the first update", train):
            progress.note(_forecast(setup, steps, device, ranks.count))
        dtype = getattr(torch, train.dtype)
        if train.compile == "on" or (train.compile == "auto" and device.type == "cuda"):
            _compile(setup.model, dtype, progress)
        updater = Updater(setup.model, setup.objective, config, ranks, dtype)
        try:
            steps, reason = loop.train(setup, updater, run, progress, steps, _sampler(setup))
        except Interrupted:
            if ranks.first and options.report:
                write_report(run.path)
            raise
        updater.release()
        best = run.best()
        if best is not None:
            distributed.load_weights(updater.model, best)
        ended = {"steps": steps, "reason": reason, **_evaluate(setup, updater, progress)}
        model = ranks.unshard(updater.model)
        if model is not None:
            path = run.save_model("model", model, ended)
            run.tidy()
            if options.report:
                write_report(run.path)
                reason += f"; the model is in {path}, the curves in report.html beside it"
            progress.note(reason)
        ranks.wait_for_first()
        return _load_result(run, device) if model is None else model.eval()


def _check_ranks(run: Run, ranks: Ranks) -> None:
    """Raise TrainingError on a rank that has another folder, other data or other settings."""
    if not run.record.is_file():
        raise TrainingError(
            f"rank {ranks.rank} does not see {run.path}, which rank 0 has made. Keep the run on a "
            f"file system that all machines share."
        )
    inputs = [run.fingerprints, run.config.model_dump(mode="json")]
    if ranks.broadcast_object(inputs) != inputs:
        raise TrainingError(
            f"rank {ranks.rank} has other text or settings than rank 0. Give all of them the same "
            f"files and --set, and train.device and train.dtype where machines differ."
        )


def _evaluate(setup: TrainSetup, updater: Updater, progress: TrainingProgress) -> dict[str, Any]:
    """Return the figures on all of the validation batches, if there are any, and show them."""
    if setup.validation is None:
        return {}
    with loop.guard("in the last evaluation", setup.config.train):
        figures = updater.evaluate(setup.validation.once(), torch.float32)
    progress.note(f"validation, all of it in float32: {progress.figures(figures)}")
    return {"validation": figures}


def _load_result(run: Run, device: torch.device) -> Model:
    return folder.build(folder.load(run.path / "model")).to(device)


def _compile(model: Model, dtype: torch.dtype, progress: TrainingProgress) -> None:
    """Compile each block, unless that fails here or changes the results."""
    ids = torch.zeros(1, model.config.n_ctx, dtype=torch.int64, device=model.tokens.weight.device)
    model.eval()  # without dropout, results can be compared
    with torch.no_grad(), autocast(model, dtype):
        plain = model.hidden(ids)
        for block in model.blocks:
            block.compile()
        try:
            error = float((model.hidden(ids) - plain).abs().max() / plain.abs().max())
            reason = f"the results differ by {error:.1%}" if not error < _COMPILE_TOLERANCE else ""
            with torch.enable_grad():
                model.train().hidden(ids).sum().backward()  # type: ignore[no-untyped-call]
        except Exception as failure:  # a compiler has countless ways to fail
            reason = first_line(failure)
    model.zero_grad()
    if reason:
        for block in model.blocks:
            block._compiled_call_impl = None
        progress.note(f"torch.compile does not work here ({reason}); going on without it")


def _forecast(setup: TrainSetup, steps: int, device: torch.device, ranks: int) -> str:
    """Return what the user should know before the first update: size, time and memory."""
    train, batches = setup.config.train, setup.batches
    tokens = batches.tokens_per_sample
    micro = min(train.micro_batch_size or train.batch_size, -(-train.batch_size // ranks))
    updates = (batches.update(step, 0, ranks) for step in range(min(steps, _SHAPES)))
    shapes = [batch.ids.shape for update in updates for batch in update]
    largest = max(shapes, key=math.prod)
    expected = estimate(
        setup.config.model,
        tokens=round(steps * train.batch_size * tokens / ranks),
        micro_tokens=math.prod(largest),
        length=largest[1],
        device=device,
        dtype=getattr(torch, train.dtype),
    )
    processes = f", {ranks} processes ({setup.config.distributed.strategy})" if ranks > 1 else ""
    lines = [
        f"{counted(steps, 'update')} ({steps / batches.steps_per_epoch:.2f} epochs), each of "
        f"{counted(train.batch_size, 'sample')} of about {tokens:,.0f} tokens, {micro} in a "
        f"forward pass; in {train.dtype} on {train.device}{processes}",
        str(expected),
    ]
    if steps < _FEW_UPDATES:
        longer = f"--epochs {_FEW_UPDATES * train.epochs // steps + 1:.0f}"
        if train.steps is not None:
            longer = f"--steps {_FEW_UPDATES}"
        lines.append(
            f"only {counted(steps, 'update')}: little will be learned. Give more text, {longer}, "
            f"or a --batch-size below {train.batch_size}."
        )
    return "\n".join(lines)


def _sampler(setup: TrainSetup) -> Sampler | None:
    """Return a function that lets a language model continue the prompt of the settings."""
    config, tokenizer = setup.config, setup.tokenizer
    if setup.objective.metric is not None or not isinstance(setup.model, Transformer):
        return None
    ids = tokenizer.encode(config.data.prefix or config.train.sample_prompt)
    if not ids:
        return None
    sampling = SamplingConfig(
        temperature=0.8, top_k=40, seed=config.train.seed, max_new_tokens=_SAMPLE_TOKENS
    )

    def sample(model: Model) -> str:
        model.eval()
        assert isinstance(model, Transformer)
        prompt = ids[: model.config.n_ctx - 1]
        return engine.generate(make_backend(model), tokenizer, [prompt], sampling)[0].text

    return sample
