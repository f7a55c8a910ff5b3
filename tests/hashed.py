"""Weights that any language can make: a fixed hash of tensor number and index (spec 10.1.1)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpt1.checkpoint import huggingface
from gpt1.config import ModelConfig
from gpt1.model.transformer import Transformer


def unit(t: int, count: int) -> NDArray[np.float64]:
    """Return the first `count` numbers in [0, 1) of tensor number t."""
    x = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(t << 32)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53


def tensor(t: int, name: str, shape: tuple[int, ...], amplitude: float) -> Tensor:
    """Return tensor number t, whose name tells how large its values are."""
    u = torch.from_numpy(2 * unit(t, math.prod(shape)) - 1).view(shape)
    if len(shape) > 1:
        return amplitude * u
    return 1 + 0.1 * u if name.endswith(("ln_1.weight", "ln_2.weight")) else 0.1 * u


def stored(config: ModelConfig, amplitude: float) -> dict[str, Tensor]:
    """Return all weights by Hugging Face's names and orientation, float64."""
    shapes = huggingface.shapes(config)
    return {n: tensor(t, n, shape, amplitude) for t, (n, shape) in enumerate(shapes.items())}


def model(config: ModelConfig, amplitude: float, dtype: torch.dtype) -> Transformer:
    """Return our model with these weights, in evaluation mode."""
    state = {}
    weights = stored(config, amplitude)
    for ours, theirs in huggingface.names(config.n_layer).items():
        turned = theirs.startswith("h.") and weights[theirs].dim() == 2
        state[ours] = (weights[theirs].t() if turned else weights[theirs]).to(dtype).contiguous()
    with torch.device("meta"):
        transformer = Transformer(config)
    transformer.load_state_dict(state, assign=True)
    return transformer.eval()
