"""GPT-1 as OpenAI released it: params_0.npy ... params_9.npy and params_shapes.json (spec 1.10).

The files are one flat float32 array, split anywhere: positions, then tokens, then twelve tensors
per block. The shapes tell every size but the number of heads.
"""

from __future__ import annotations

import io
import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig, check
from gpt1.errors import CheckpointError, ConfigError, counted
from gpt1.storage import Folder

SHAPES = "params_shapes.json"
_Shape = Annotated[list[Annotated[int, Field(gt=0, lt=2**32)]], Field(min_length=1, max_length=3)]
_HEAD_WIDTH = 64  # the released model's, and the default


def read_config(folder: Folder) -> ModelConfig:
    """Return the configuration that the shapes imply. Raises CheckpointError if it is no GPT-1."""
    stored = _shapes(folder)
    config = _config(folder, stored)
    expected = huggingface.shapes(config)
    wrong = [
        f"shape {number} ({name}) is {shape}; a model of this size has {list(expected[name])}"
        for number, (shape, (_, name)) in enumerate(zip(stored, _order(config), strict=True))
        if _bare(shape) != expected[name]
    ]
    if wrong:
        listing = "\n  ".join(wrong)
        raise CheckpointError(f"{folder.path / SHAPES} is not GPT-1's:\n  {listing}")
    return config


def read_state(folder: Folder, config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights in our names, float32.

    Raises CheckpointError if the files hold more or fewer numbers, or numbers that are not finite.
    """
    shapes = huggingface.shapes(config)
    numbers = _numbers(folder, sum(math.prod(shape) for shape in shapes.values()))
    state, start = {}, 0
    for name, stored_name in _order(config):
        shape = shapes[stored_name]
        end = start + math.prod(shape)
        tensor = numbers[start:end].view(shape)
        transposed = len(shape) == 2 and stored_name.startswith("h.")
        state[name] = tensor.t().contiguous() if transposed else tensor.clone()
        start = end
    huggingface.check_finite(state, str(folder.path))
    return state


def _order(config: ModelConfig) -> list[tuple[str, str]]:
    """Return our and Hugging Face's names in the order of the files: positions first."""
    tokens, positions, *blocks = huggingface.names(config.n_layer).items()
    return [positions, tokens, *blocks]


def _shapes(folder: Folder) -> list[list[int]]:
    value = folder.json(SHAPES)
    try:
        shapes: list[list[int]] = TypeAdapter(list[_Shape]).validate_python(value, strict=True)
    except ValidationError:
        shapes = []
    if len(shapes) < 14 or (len(shapes) - 2) % 12:
        raise CheckpointError(
            f"{folder.path / SHAPES} is not GPT-1's: it should list the shapes of two embeddings "
            f"and twelve tensors per block. Download it again."
        )
    return shapes


def _bare(shape: list[int]) -> tuple[int, ...]:
    """Return a shape without the leading 1 of a convolution's weights."""
    return tuple(shape[1:] if len(shape) == 3 and shape[0] == 1 else shape)


def _config(folder: Folder, shapes: list[list[int]]) -> ModelConfig:
    n_embd = shapes[0][-1]
    n_head = _heads(folder)
    if n_head is None:
        if n_embd % _HEAD_WIDTH:
            raise CheckpointError(
                f"{folder.path} does not say how many heads the model has, and its width {n_embd} "
                f'is not a multiple of {_HEAD_WIDTH}. Add a config.json with {{"n_head": ...}}.'
            )
        n_head = n_embd // _HEAD_WIDTH
    try:
        sizes = {"n_ctx": shapes[0][0], "vocab_size": shapes[1][0], "n_embd": n_embd}
        return check(ModelConfig, {**sizes, "n_head": n_head, "n_layer": (len(shapes) - 2) // 12})
    except ConfigError as error:
        raise CheckpointError(f"{folder.path / SHAPES} is not GPT-1's: {error}") from None


def _heads(folder: Folder) -> Any:
    if "config.json" not in folder:
        return None
    values = folder.json("config.json")
    if isinstance(values, dict) and isinstance(values.get("hparams"), dict):
        values = values["hparams"]
    return values.get("n_head") if isinstance(values, dict) else None


def _numbers(folder: Folder, total: int) -> Tensor:
    """Return the `total` numbers of all files as one float32 tensor."""
    parts: list[Any] = []
    while (name := f"params_{len(parts)}.npy") in folder:
        try:
            part = np.load(io.BytesIO(folder.read(name)), allow_pickle=False)
        except (ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
            raise CheckpointError(
                f"{folder.path / name} is not a complete .npy file ({error}). Download it again."
            ) from None
        if not isinstance(part, np.ndarray) or part.dtype.kind != "f" or part.ndim != 1:
            raise CheckpointError(f"{folder.path / name} is not a flat array of real numbers.")
        parts.append(part)
    count = sum(len(part) for part in parts)
    if count != total:
        raise CheckpointError(
            f"{folder.path} holds {count:,} numbers in {counted(len(parts), 'file')} params_*.npy; "
            f"{SHAPES} asks for {total:,}. A file is missing or cut short: download them again."
        )
    return torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False))
