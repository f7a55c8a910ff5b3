"""From settings to a finished run: what pre-training and fine-tuning share around the loop."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from gpt1.checkpoint import folder
from gpt1.config import RunConfig
from gpt1.data.batches import Batch, Batches, PackBatches, WindowBatches
from gpt1.errors import DataError
from gpt1.model.allocator import keep_freed_memory
from gpt1.model.device import choose_device, choose_dtype
from gpt1.model.transformer import Transformer
from gpt1.text.tokenizer import Tokenizer
from gpt1.training import loop, objectives
from gpt1.training.estimate import estimate
from gpt1.training.progress import Progress, perplexity
from gpt1.training.report import write_curves
from gpt1.training.run import Run

_MICRO_TOKENS = 8192  # in one forward pass, where no micro_batch_size is set
_FEW_UPDATES = 50
EVALUATION_ROWS = 8


def settle(config: RunConfig, tokenizer: Tokenizer) -> RunConfig:
    """Fill in what `config` leaves open, by the tokenizer and this machine."""
    device = choose_device(config.train.device)
    dtype = choose_dtype(config.train.dtype, device)
    rows = min(config.train.batch_size, max(1, _MICRO_TOKENS // config.model.n_ctx))
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
    model: Transformer,
    tokenizer: Tokenizer,
    config: RunConfig,
    batches: Batches,
    validation: WindowBatches | PackBatches | None,
    *,
    out: Path | str,
    resume: bool,
) -> None:
    """Train `model` in place and leave the result in OUT/model: the part all training shares.

    `config` is settled. Raises TrainingError, DataError if there is not one update to make.
    """
    keep_freed_memory()
    train = config.train
    device, dtype = choose_device(train.device), getattr(torch, train.dtype)
    objective = objectives.BY_NAME[train.loss]
    steps = train.steps or batches.steps(train.epochs)
    if not steps:
        raise DataError(
            "the texts do not fill one update. Give more of them, or a smaller train.batch_size."
        )
    progress = Progress(train.log_every)
    facts = {
        "data": batches.fingerprint,
        "validation": None if validation is None else validation.fingerprint,
    }
    model.to(device)
    with Run(out, config, tokenizer, facts, resume=resume) as run:
        if resume and (run.path / "model").is_dir():
            progress.note(f"the run in {run.path} is already finished")
            model.load_state_dict(folder.load(run.path / "model").state)
            model.eval()
            return
        micro = train.micro_batch_size or train.batch_size
        expected = estimate(
            config.model,
            tokens=steps * train.batch_size * config.model.n_ctx,
            micro_tokens=micro * config.model.n_ctx,
            device=device,
            dtype=dtype,
        )
        progress.note(
            f"{steps:,} updates of {train.batch_size} x {config.model.n_ctx} tokens "
            f"({steps / batches.steps_per_epoch:.2f} epochs), in {train.dtype} on {train.device}, "
            f"{micro} sequences a forward pass\n{expected}"
        )
        if steps < _FEW_UPDATES:
            progress.note(
                f"only {steps} updates: little will be learned. For more: more text, "
                f"--set train.epochs={_FEW_UPDATES * train.epochs // steps + 1:.0f}, or a smaller "
                f"--set train.batch_size."
            )
        along = everything = None
        if validation is not None:
            along = _evaluator(objective, validation, train.eval_windows, dtype)
            everything = _evaluator(objective, validation, None, torch.float32)
        result = loop.train(
            model,
            batches,
            objective,
            along,
            run=run,
            steps=steps,
            dtype=dtype,
            progress=progress,
        )
        extra: dict[str, Any] = {"steps": result.steps, "reason": result.reason}
        if everything is not None:
            final = everything(model)
            extra |= {"validation": final}
            progress.note(
                f"validation, all of it in float32: loss {final['loss']:.4f}, "
                f"perplexity {perplexity(final['loss'])}"
            )
        model.eval()
        place = run.finish(model, {"training": extra})
        write_curves(run)
        progress.note(f"{result.reason}; the model is in {place}, the curves in curves.png beside")


def _evaluator(
    objective: objectives.Objective,
    validation: WindowBatches | PackBatches,
    limit: int | None,
    dtype: torch.dtype,
) -> loop.Evaluator:
    def batches() -> Iterable[Batch]:
        return validation.once(limit)

    return loop.evaluator(objective, batches, dtype)
