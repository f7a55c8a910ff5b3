"""GPT-1 as OpenAI released it: params_0.npy ... params_9.npy and params_shapes.json (spec 1.10).

The files are one flat float32 array cut anywhere; positions come first, then tokens, then twelve
tensors a block. The shapes tell every size but the number of heads.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig, check
from gpt1.errors import CheckpointError, ConfigError
from gpt1.storage import Folder

SHAPES = "params_shapes.json"
_HEAD_WIDTH = 64  # of the released model, and the rule where nothing says otherwise


def read_config(folder: Folder) -> ModelConfig:
    """Return the configuration that the shapes tell; CheckpointError if they are not GPT-1's."""
    stored = _shapes(folder)
    config = _config(folder, stored)
    expected = huggingface.shapes(config)
    wrong = [
        f"shape {number} ({theirs}) is {shape}; a model of this size has {list(expected[theirs])}"
        for number, (shape, (_, theirs)) in enumerate(zip(stored, _order(config), strict=True))
        if _bare(shape) != expected[theirs]
    ]
    if wrong:
        listing = "\n  ".join(wrong)
        raise CheckpointError(f"{folder.path / SHAPES} is not GPT-1's:\n  {listing}")
    return config


def read_state(folder: Folder, config: ModelConfig) -> dict[str, Tensor]:
    """Return the weights in our names, float32.

    Raises CheckpointError if the files hold more or fewer numbers, or such as are not finite.
    """
    shapes = huggingface.shapes(config)
    numbers = _numbers(folder, sum(math.prod(shape) for shape in shapes.values()))
    state, start = {}, 0
    for ours, theirs in _order(config):
        shape = shapes[theirs]
        end = start + math.prod(shape)
        tensor = numbers[start:end].view(shape)
        transposed = len(shape) == 2 and theirs.startswith("h.")
        state[ours] = tensor.t().contiguous() if transposed else tensor.clone()
        start = end
    huggingface.check_finite(state, str(folder.path))
    return state


def _order(config: ModelConfig) -> list[tuple[str, str]]:
    """Return our and Hugging Face's names in the order of the files: positions first."""
    tokens, positions, *blocks = huggingface.names(config.n_layer).items()
    return [positions, tokens, *blocks]


def _shapes(folder: Folder) -> list[list[int]]:
    value = folder.json(SHAPES)
    good = isinstance(value, list) and all(
        isinstance(shape, list)
        and 1 <= len(shape) <= 3
        and all(type(n) is int and 0 < n < 2**32 for n in shape)
        for shape in value
    )
    if not good or len(value) < 14 or (len(value) - 2) % 12:
        raise CheckpointError(
            f"{folder.path / SHAPES} is not GPT-1's: it should list the shapes of two embeddings "
            f"and twelve tensors a block. Download it again."
        )
    shapes: list[list[int]] = value
    return shapes


def _bare(shape: list[int]) -> tuple[int, ...]:
    """Drop the leading 1 of a convolution's weights."""
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
        return check(
            ModelConfig,
            {
                "n_ctx": shapes[0][0],
                "vocab_size": shapes[1][0],
                "n_embd": n_embd,
                "n_head": n_head,
                "n_layer": (len(shapes) - 2) // 12,
            },
        )
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
    """Return all files' numbers in one float32 tensor, checked to be `total`."""
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
            f"{folder.path} holds {count:,} numbers in {len(parts)} files params_*.npy; "
            f"{SHAPES} asks for {total:,}. A file is missing or cut short: download them again."
        )
    return torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False))
