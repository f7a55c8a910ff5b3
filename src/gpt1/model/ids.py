"""Checks of the ids that a model is given.

Values are checked where ids come in from outside: `forward` and the engine's prompts. `hidden`,
which training and decoding call, does not check them: the host would have to wait for the device at
every step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gpt1.errors import ContextError, InputError


def check_ids(
    ids: Tensor | None, name: str, limit: int, *, like: Tensor | None = None, ignored: int = 0
) -> None:
    """Raise InputError unless `ids` are None or integers (B, T) below `limit`, shaped as `like`.

    `name` is the argument's; "position_ids" are positions, of which one row may serve all rows, all
    others are tokens. The value `ignored` is allowed.
    """
    if ids is None:
        return
    if ids.dim() != 2 or ids.dtype not in (torch.int64, torch.int32) or not ids.numel():
        raise InputError(
            f"{name} is a {ids.dtype} tensor of shape {tuple(ids.shape)}; the model reads "
            f"whole numbers of shape (B, T) with B and T at least 1."
        )
    what, remedy = "ids", "Use the tokenizer that belongs to the model."
    if name == "position_ids":
        what, remedy = "positions", "Count positions from 0, and shorten or split what is longer."
        like = like[:1] if like is not None and len(ids) == 1 else like
    if like is not None and ids.shape != like.shape:
        raise InputError(
            f"{name} has shape {tuple(ids.shape)} and ids have {tuple(like.shape)}; "
            f"give one number for every id."
        )
    wrong = (ids >= limit) | ((ids < 0) & (ids != ignored))
    if wrong.any():
        raise InputError(
            f"{name} hold {int(ids[wrong][0])}; the model knows {what} from 0 to {limit - 1}. "
            f"{remedy}"
        )


def check_length(length: int, n_ctx: int) -> None:
    """Raise ContextError for more ids than the model has positions."""
    if length > n_ctx:
        raise ContextError(
            f"the input is {length} ids long; the model has {n_ctx} positions. "
            f"Shorten it, or split it into windows."
        )
