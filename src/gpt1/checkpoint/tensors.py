"""Read and write safetensors files.

safetensors itself checks the whole header before it makes a tensor, and never allocates more than
the file holds; tests/unit/checkpoint/test_safetensors_header.py shows it damage of every kind.
Writing is ours, since safetensors copies all tensors into one block of memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gpt1.errors import CheckpointError

_BLOCK = 1 << 20  # smaller tensors are written together
_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


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


class File:
    """The bytes that safetensors would write for floating-point tensors, in blocks."""

    def __init__(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] = {}) -> None:
        self._tensors = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
        self._metadata = metadata

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Yield the header and the values; those of large tensors are not copied."""
        header: dict[str, Any] = {}
        if self._metadata:
            header["__metadata__"] = self._metadata
        end = 0
        for name, tensor in self._tensors:
            begin, end = end, end + tensor.numel() * tensor.itemsize
            header[name] = {
                "dtype": _DTYPES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [begin, end],
            }
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        block = len(text).to_bytes(8, "little") + text
        for _, tensor in self._tensors:
            values = tensor.detach().cpu().contiguous().reshape(-1)
            data = values.view(torch.uint8).numpy().data
            if len(block) + len(data) <= _BLOCK:
                block += data
            else:
                yield block
                block = b""
                yield data
        yield block
