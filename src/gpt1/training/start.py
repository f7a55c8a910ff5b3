"""From settings to a finished run: what pre-training and fine-tuning share around the loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from gpt1.checkpoint import folder
from gpt1.config import RunConfig, SamplingConfig
from gpt1.data.batches import Batch, Batches, SampleBatches
from gpt1.errors import DataError, Interrupted, TrainingError
from gpt1.generation import engine
from gpt1.generation.torch_backend import make_backend
from gpt1.model.allocator import keep_freed_memory
from gpt1.model.build import Model
from gpt1.model.device import choose_device, choose_dtype
from gpt1.model.transformer import Transformer
from gpt1.reports.formatting import format_perplexity
from gpt1.reports.runs import write_report
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import distributed, loop, objectives
from gpt1.training.estimate import estimate
from gpt1.training.progress import Progress
from gpt1.training.run import Run

MICRO_TOKENS = 8192  # in one forward pass, where no micro_batch_size is set
_FEW_UPDATES = 50
_COMPILED = 2e-2  # how far a compiled model may be from the plain one, bf16 as it is
_SAMPLE = 48  # tokens of a sample along the way
EVALUATION_ROWS = 8


def settle(config: RunConfig, tokenizer: Tokenizer) -> RunConfig:
    """Fill in what `config` leaves open, by the tokenizer and this machine."""
    device = choose_device(config.train.device)
    dtype = choose_dtype(config.train.dtype, device)
    rows = min(config.train.batch_size, max(1, MICRO_TOKENS // config.model.n_ctx))
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"vocab_size": len(tokenizer)}),
            "train": config.train.model_copy(
                update={
                    "device": str(device),
                    "dtype": str(dtype).removeprefix("torch."),
                    "micro_batch_size": config.train.micro_batch_size or rows,
                }
            ),
        }
    )


def run_training(
    model: Model,
    tokenizer: Tokenizer,
    config: RunConfig,
    batches: Batches,
    validation: SampleBatches | None,
    objective: objectives.Objective,
    *,
    out: Path | str,
    resume: bool,
    judge: loop.Judge | None = None,
    about: Mapping[str, Any] | None = None,
    quiet: bool = False,
    kept: bool = True,
) -> Model:
    """Train `model`, leave the result in OUT/model and return it: the part all training shares.

    `config` is settled; `judge` makes figures of a validation's scores, `about` is what gpt1.json
    says of the run's models. `kept` off: nobody will look at the folder, so it gets no page.
    torchrun may have started several processes, each of which calls this. Raises TrainingError,
    StorageError if the disk has too little room, DataError if there is not one update to make.
    """
    keep_freed_memory()
    train = config.train
    device, dtype = distributed.place(choose_device(train.device)), getattr(torch, train.dtype)
    distributed.check(config.distributed, train.batch_size)
    steps = train.steps or batches.steps(train.epochs)
    if not steps:
        raise DataError(
            "the texts do not fill one update. Give more of them, or a smaller train.batch_size."
        )
    facts = {
        "data": batches.fingerprint,
        "validation": None if validation is None else validation.fingerprint,
    }
    model.to(device)
    with distributed.join(device) as ranks, contextlib.ExitStack() as stack:
        console = distributed.console(quiet)
        progress = Progress(train.log_every, console, language=config.task.kind == "lm")
        run = Run(out, config, tokenizer, facts, resume=resume, about=about)
        if ranks.first:
            stack.enter_context(run)
        if ranks.agree(resume and (run.path / "model").is_dir()):
            progress.note(f"the run in {run.path} is already finished")
            if ranks.first:  # it may have been cut off before this
                run.tidy()
                write_report(run.path)
            return folder.build(folder.load(run.path / "model")).to(device)
        if not run.record.is_file():
            raise TrainingError(
                f"rank {ranks.rank} does not see {run.path}, which rank 0 has made. Keep the run "
                f"on a file system that all machines share."
            )
        told = [facts, config.model_dump(mode="json")]
        if ranks.agree(told) != told:
            raise TrainingError(
                f"rank {ranks.rank} has other text or settings than rank 0. Give all of them the "
                f"same files and --set, and train.device and train.dtype where machines differ."
            )
        if ranks.first:
            run.check_room(model)
        progress.note(_forecast(config, batches, steps, device, dtype, ranks))
        if train.compile == "on" or (train.compile == "auto" and device.type == "cuda"):
            _compile(model, dtype, progress)
        along = sampler = None
        if config.task.kind == "lm" and isinstance(model, Transformer):
            prompt = config.data.prefix or train.sample_prompt
            sampler = _sampler(tokenizer, prompt, train.seed)
        if validation is not None:
            along = _evaluator(objective, validation, train.eval_windows, dtype, judge)
        try:
            result = loop.train(
                model,
                batches,
                objective,
                along,
                sampler,
                run=run,
                ranks=ranks,
                steps=steps,
                dtype=dtype,
                progress=progress,
            )
        except Interrupted:
            if ranks.first and kept:
                write_report(run.path)
            raise
        best = run.best()
        if best is not None:
            distributed.load_weights(model, best)
        extra: dict[str, Any] = {"steps": result.steps, "reason": result.reason}
        if validation is not None:
            everything = _evaluator(objective, validation, None, torch.float32, judge)
            extra["validation"] = final = ranks.agree(everything(result.step))
            others = "".join(f", {n} {value:.4f}" for n, value in final.items() if n != "loss")
            progress.note(
                f"validation, all of it in float32: loss {final['loss']:.4f}"
                + (others or f", perplexity {format_perplexity(final['loss'])}")
            )
        model = ranks.whole(model)
        if ranks.first:
            place = run.finish(model, {"training": extra})
            if kept:
                write_report(run.path)
            where = f"; the model is in {place}, the curves in report.html beside" if kept else ""
            progress.note(f"{result.reason}{where}")
        ranks.agree(None)  # the result is written
        if not ranks.first:
            return folder.build(folder.load(run.path / "model")).to(device)
        return model.eval()


def _compile(model: Model, dtype: torch.dtype, progress: Progress) -> None:
    """Compile each block; leave it if that fails here or gives other numbers."""
    ids = torch.zeros(1, model.config.n_ctx, dtype=torch.int64, device=model.tokens.weight.device)
    model.eval()  # without dropout both ways give the same
    with torch.no_grad(), loop.autocast(model, dtype):
        plain = model.hidden(ids)
        for block in model.blocks:
            block.compile()
        try:
            off = float((model.hidden(ids) - plain).abs().max() / plain.abs().max())
            reason = f"the results differ by {off:.1%}" if not off < _COMPILED else ""
            with torch.enable_grad():
                model.train().hidden(ids).sum().backward()  # type: ignore[no-untyped-call]
        except Exception as error:  # a compiler has countless ways to fail
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
    model.zero_grad()
    if reason:
        for block in model.blocks:
            block._compiled_call_impl = None
        progress.note(f"torch.compile does not work here ({reason}); going on without it")


def _forecast(
    config: RunConfig,
    batches: Batches,
    steps: int,
    device: torch.device,
    dtype: torch.dtype,
    ranks: distributed.Ranks,
) -> str:
    """Return what a person should know before the first update."""
    train, tokens = config.train, batches.tokens_per_sample
    micro = min(train.micro_batch_size or train.batch_size, -(-train.batch_size // ranks.count))
    expected = estimate(
        config.model,
        tokens=round(steps * train.batch_size * tokens / ranks.count),
        micro_tokens=round(micro * tokens),
        device=device,
        dtype=dtype,
    )
    lines = [
        f"{steps:,} update{'s' * (steps != 1)} of {train.batch_size} x {tokens:,.0f} tokens "
        f"({steps / batches.steps_per_epoch:.2f} epochs), in {train.dtype} on {train.device}"
        + (f", {ranks.count} processes ({config.distributed.strategy})" if ranks.count > 1 else "")
        + f", {micro} of them in a forward pass",
        str(expected),
    ]
    if steps < _FEW_UPDATES:
        more = _FEW_UPDATES * train.epochs // steps + 1
        lines.append(
            f"only {steps} update{'s' * (steps != 1)}: little will be learned. For more: more "
            f"text, --set train.epochs={more:.0f}, or a smaller --set train.batch_size."
        )
    return "\n".join(lines)


def _sampler(tokenizer: Tokenizer, prompt: str, seed: int) -> loop.Sampler | None:
    """Return a function that lets the model continue `prompt`; None if there is nothing in it."""
    ids = tokenizer.encode(prompt)
    if not ids:
        return None
    sampling = SamplingConfig(temperature=0.8, top_k=40, seed=seed, max_new_tokens=_SAMPLE)

    def sample(model: Model) -> str:
        model.eval()
        assert isinstance(model, Transformer)
        start = ids[: model.config.n_ctx - 1]
        return engine.generate(make_backend(model), tokenizer, [start], sampling)[0].text

    return sample


def _evaluator(
    objective: objectives.Objective,
    validation: SampleBatches,
    limit: int | None,
    dtype: torch.dtype,
    judge: loop.Judge | None,
) -> loop.Evaluator:
    def batches() -> Iterable[Batch]:
        return validation.once(limit)

    return loop.evaluator(objective, batches, dtype, judge)
