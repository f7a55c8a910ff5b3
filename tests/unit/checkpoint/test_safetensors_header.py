"""Bytes that claim to be a safetensors file: read exactly, or refused; nothing in between."""

from __future__ import annotations

import json
import random

import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from gpt1.checkpoint import tensors
from gpt1.errors import CheckpointError
from tolerances import EXACT

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def test_written_files_are_those_of_safetensors() -> None:
    made = {
        "b": torch.arange(6.0).view(2, 3).t(),
        "a": torch.tensor(1.5),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "double": torch.zeros(2, 2, dtype=torch.float64),
        "empty": torch.empty(0, 3),
        "\u00e9": torch.ones(1),
    }
    whole = {name: tensor.contiguous() for name, tensor in made.items()}
    for metadata in ({}, {"format": "pt"}):
        written = tensors.File(made, metadata)
        assert b"".join(written) == safetensors.torch.save(whole, metadata or None)
        assert b"".join(written) == b"".join(written)


def file_of(header: object, body: bytes = bytes(8)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
     torch.int16, torch.int8, torch.uint8, torch.bool],
)  # fmt: skip
def test_every_dtype_reads_back(dtype: torch.dtype) -> None:
    made = {
        "a": torch.arange(6).view(2, 3).to(dtype),
        "empty": torch.empty(0, 3, dtype=dtype),
        "scalar": torch.ones((), dtype=dtype),
    }
    found = tensors.read(safetensors.torch.save(made, metadata={"format": "pt"}), "x")
    assert found.keys() == made.keys()
    for name, tensor in made.items():
        assert_close(found[name], tensor, **EXACT)


@pytest.mark.parametrize(
    "data",
    {
        "no bytes": b"",
        "no header": bytes(7),
        "a header longer than the file": (1 << 60).to_bytes(8, "little") + b"{}",
        "a huge header": (1 << 63).to_bytes(8, "little") + b"{}",
        "not JSON": file_of(b"{", b""),
        "not UTF-8": file_of(b'{"\xff": 1}', b""),
        "a list": file_of(b"[]", b""),
        "deep nesting": file_of(b'{"a":' * 5000, b""),
        "a constant": file_of(b'{"a": NaN}', b""),
        "a name twice": file_of(b'{"a": 1, "a": 1}'),
        "metadata that is no text": file_of({"__metadata__": {"a": 1}}, b""),
        "metadata that is no object": file_of({"__metadata__": []}, b""),
        "an entry that is none": file_of({"a": 3}),
        "a key missing": file_of({"a": {"dtype": "F32", "shape": [2]}}),
        "an unknown dtype": file_of({"a": {**ENTRY, "dtype": "F99"}}),
        "a dtype that PyTorch lacks": file_of({"a": {**ENTRY, "dtype": "F4", "shape": [16]}}),
        "a dtype that is a list": file_of({"a": {**ENTRY, "dtype": []}}),
        "a negative size": file_of({"a": {**ENTRY, "shape": [-2]}}),
        "true as a size": file_of({"a": {**ENTRY, "shape": [True, 2]}}),
        "half a size": file_of({"a": {**ENTRY, "shape": [2.0]}}),
        "a shape that is text": file_of({"a": {**ENTRY, "shape": "2"}}),
        "a size of 2 to the 63": file_of({"a": {**ENTRY, "shape": [2**63]}}),
        "sizes that overflow": file_of({"a": {**ENTRY, "shape": [2**32, 2**32, 2]}}),
        "a shape of many axes": file_of({"a": {**ENTRY, "shape": [1] * 9}}),
        "a shape too large": file_of({"a": {**ENTRY, "shape": [3]}}),
        "a shape too small": file_of({"a": {**ENTRY, "shape": [1]}}),
        "a place that ends early": file_of({"a": {**ENTRY, "data_offsets": [8, 0]}}),
        "a place of three": file_of({"a": {**ENTRY, "data_offsets": [0, 4, 8]}}),
        "a hole": file_of({"a": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
        "an overlap": file_of({"a": ENTRY, "b": {**ENTRY, "data_offsets": [4, 12]}}, bytes(12)),
        "the same place twice": file_of({"a": ENTRY, "b": ENTRY}),
        "bytes behind": file_of({"a": ENTRY}, bytes(9)),
        "bytes missing": file_of({"a": ENTRY}, bytes(7)),
    }.values(),
)  # fmt: skip
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is not a complete"):
        tensors.read(data, "weights.safetensors")


def sound_file() -> bytes:
    made = {"b": torch.arange(4, dtype=torch.float16), "a": torch.ones(2, 3)}
    return safetensors.torch.save(made, metadata={"format": "pt"})


def is_read(data: bytes) -> bool:
    """Return whether `data` is accepted, and then holds each byte of its tensors once."""
    try:
        found = tensors.read(data, "x")
    except CheckpointError:
        return False
    body = data[8 + int.from_bytes(data[:8], "little") :]
    read = [bytes(tensor.contiguous().view(torch.uint8).numpy()) for tensor in found.values()]
    assert sorted(b"".join(read)) == sorted(body)
    return True


def test_no_flipped_bit_of_the_header_crashes_or_misreads() -> None:
    data = sound_file()
    end = 8 + int.from_bytes(data[:8], "little")
    accepted = 0
    for at in range(end):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            accepted += is_read(bytes(changed))
    assert 0 < accepted < 2 * end  # another name or metadata is a sound file too


def test_no_random_damage_crashes_or_misreads() -> None:
    rng = random.Random(0)
    sound = sound_file()
    for _ in range(5000):
        data = bytearray(sound)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randint(1, 9)]
                case 2:
                    data[at:at] = rng.randbytes(rng.randint(1, 9))
                case 3:
                    data[at:at] = data[rng.randrange(len(data)) :][: rng.randint(1, 20)]
        is_read(bytes(data))


def test_every_cut_is_refused() -> None:
    data = sound_file()
    assert not any(is_read(data[:end]) for end in range(len(data)))
