"""Read the bytes of a safetensors file: the whole header is checked before a tensor is made.

A file is eight bytes (the header's length, little-endian), a JSON header (name -> dtype, shape,
place), and the tensors' bytes without gaps. What a damaged or hostile file can say otherwise is a
CheckpointError here, never a crash, and never an allocation larger than the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from gpt1.errors import CheckpointError

HEADER_LIMIT = 100_000_000  # the format's own limit
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Stored:
    """A tensor still in its file's bytes: row-major, little-endian."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    data: memoryview

    def tensor(self) -> Tensor:
        """Return a tensor of its own memory."""
        if not len(self.data):
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(bytearray(self.data), dtype=self.dtype).view(self.shape)


def read(data: bytes, where: str) -> dict[str, Stored]:
    """Return the tensors of a safetensors file by name; `where` names the file in errors.

    Raises CheckpointError if the bytes are not exactly one well-formed file.
    """
    if len(data) < 8:
        _refuse(where, f"it is {len(data)} bytes long")
    length = int.from_bytes(data[:8], "little")
    if length > min(len(data) - 8, HEADER_LIMIT):
        _refuse(where, f"its header claims {length} bytes, the file has {len(data)}")
    header = _header(data[8 : 8 + length], where)
    body = memoryview(data)[8 + length :]
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: _place(item, where)):
        dtype, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
        size = math.prod(shape) * _DTYPES[dtype].itemsize
        if start != end or stop - start != size:
            _refuse(where, f"the place of tensor {name!r} does not fit its shape")
        end = stop
        tensors[name] = Stored(_DTYPES[dtype], tuple(shape), body[start:stop])
    if end != len(body):
        _refuse(where, f"its tensors take {end} bytes, {len(body)} are there")
    return tensors


def _header(text: bytes, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) < len(pairs):
            raise ValueError("a name stands twice")
        return found

    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")

    try:
        if not text.startswith(b"{"):
            raise ValueError("it begins with something else than a brace")
        header = json.loads(
            text.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant
        )
    except (ValueError, RecursionError) as error:
        _refuse(where, f"its header is damaged ({error})")
    if not isinstance(header, dict):
        _refuse(where, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        _refuse(where, "its metadata is not text")
    return header


def _place(item: tuple[str, Any], where: str) -> tuple[int, int]:
    """Return where a tensor begins and ends, once its entry is known to be well-formed."""
    name, entry = item
    if not isinstance(entry, Mapping) or set(entry) != {"dtype", "shape", "data_offsets"}:
        _refuse(where, f"the entry of tensor {name!r} is malformed")
    shape, place = entry["shape"], entry["data_offsets"]
    for numbers in (shape, place):
        if not isinstance(numbers, list) or not all(
            type(number) is int and 0 <= number < 2**48 for number in numbers
        ):
            _refuse(where, f"the entry of tensor {name!r} is malformed")
    if len(place) != 2 or len(shape) > 8:
        _refuse(where, f"the entry of tensor {name!r} is malformed")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _DTYPES:
        _refuse(where, f"tensor {name!r} has dtype {entry['dtype']!r}, which gpt1 does not read")
    return place[0], place[1]


def _refuse(where: str, reason: str) -> NoReturn:
    raise CheckpointError(
        f"{where} is no whole safetensors file: {reason}. Fetch or copy it again."
    )
