"""Read the bytes of a safetensors file.

safetensors itself checks the whole header before it makes a tensor, and never allocates more than
the file holds; tests/unit/checkpoint/test_safetensors_header.py shows it damage of every kind.
"""

from __future__ import annotations

import safetensors.torch
from torch import Tensor

from gpt1.errors import CheckpointError


def read(data: bytes, where: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, each in its own memory.

    `where` names the file in errors. Raises CheckpointError if the bytes are not exactly one
    well-formed file.
    """
    try:
        return safetensors.torch.load(data)
    except KeyError as error:  # a dtype of the format that PyTorch lacks
        reason = f"a tensor has dtype {error}, which gpt1 does not read"
    except safetensors.SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing: ")
    raise CheckpointError(
        f"{where} is not a complete safetensors file: {reason}. Download or copy it again."
    )
