"""gpt1 export: a model -> a folder for another runtime."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gpt1.cli import options


def export(
    model: options.ModelArgument,
    to: Annotated[Literal["onnx"], typer.Option("--to", help="The format to write.")],
    out: options.NewFolder,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a folder that this command wrote.")
    ] = False,
) -> None:
    """Write a model as an ONNX graph that onnxruntime runs without gpt1.

    A language model reads ids behind its keys and values and returns logits; a model that was
    fine-tuned on a task returns probabilities. The vocabulary lies beside the graph. docs/onnx.md
    shows how to run both. Needs the extra onnx.
    """
    from gpt1.checkpoint import folder, hub
    from gpt1.errors import CheckpointError
    from gpt1.storage import check_free
    from gpt1.tasks import onnx_export

    if not force:
        check_free(out)
    path = hub.resolve(model)
    loaded = folder.load(path)
    if loaded.tokenizer is None:
        raise CheckpointError(
            f"{path} has no vocabulary. Copy the model's vocabulary files into it."
        )
    extra = {"task": loaded.extra["task"]} if "task" in loaded.extra else {}
    onnx_export.export(out, folder.build(loaded), loaded.tokenizer, extra, replace=force)
    print(out)
