"""Read a PyTorch .bin without running anything in it: the only place where a pickle is opened.

A pickle is a program. torch.load(weights_only=True) runs only the few instructions that tensors
need. Before that, the pickle is scanned for two things it would let through: functions and classes
that no tensor needs, and nested tuples that take forever to hash.
"""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt1.checkpoint import folder, hub, parts
from gpt1.errors import CheckpointError
from gpt1.storage import Folder, check_free

_PICKLE_LIMIT = 1 << 24  # bytes; enough for the names and shapes of 100,000 tensors
_LEGACY_PICKLES = 5  # magic number, protocol, byte order, tensors, storage keys; then raw numbers
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module")  # of a training checkpoint
_NESTING = 4  # a tensor's arguments hold its shape and its storage
_DTYPES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Byte", "Bool")
_ALLOWED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {dtype}Storage" for dtype in _DTYPES),
}


def convert(source: Path | str, out: Path | str) -> folder.Loaded:
    """Convert a .bin, with the config.json and vocabulary beside it, to a model folder.

    All parts are read if it is one of several. `source` may also be a folder that holds a .bin or
    its parts, one in any format that `folder.load` reads, or a run's. Raises CheckpointError
    (hostile, damaged, or not a GPT-1), StorageError (disk, or `out` exists).
    """
    check_free(out)
    source = Path(source)
    path = hub.of_run(source) if source.is_dir() else source.parent
    beside = Folder(path)
    name = parts.find_pickle(beside.names()) if source.is_dir() else source.name
    if name is None or (source.is_dir() and parts.are_in(beside, folder.WEIGHTS)):
        loaded = folder.load(path)
    else:
        if folder.CONFIG not in beside:
            raise CheckpointError(
                f"there is no {folder.CONFIG} beside {path / name}; it gives the model's shape. "
                f"Add it."
            )

        def read_file(name: str) -> dict[str, Tensor]:
            if name.endswith(".safetensors"):
                return folder.read_tensors(beside, name)
            return read_bin(path / name)

        whole = parts.whole_name(name)
        stored = parts.read(beside, whole, read_file) if name != whole else read_file(name)
        loaded = folder.assemble(beside, stored, str(path / whole))
    folder.save(out, folder.build(loaded), loaded.tokenizer, loaded.extra, replace=False)
    return loaded


def read_bin(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of a PyTorch file by name, without running anything in it.

    Raises CheckpointError if it holds anything but tensors, or is damaged.
    """
    path = Path(path)
    data = Folder(path.parent).read(path.name)
    try:
        for pickle in _pickles(data):
            _scan(pickle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unusual pickle protocol
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return _tensors(content, len(data))
    except CheckpointError as error:
        raise CheckpointError(f"{path} was not converted: {error}.") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise CheckpointError(
            f"{path} is not a complete PyTorch file of tensors ({type(error).__name__})."
        ) from None


def _pickles(data: bytes) -> list[io.BytesIO]:
    """Return streams at whose position a pickle of a PyTorch file begins."""
    if not data.startswith(b"PK\x03\x04"):  # before PyTorch 1.6: pickles, one after the other
        return [io.BytesIO(data)] * _LEGACY_PICKLES
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError("an entry is compressed, which PyTorch never does")
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    if any(entry.file_size > _PICKLE_LIMIT for entry in pickles):
        raise CheckpointError("its pickle is too large for a list of tensors")
    return [io.BytesIO(archive.read(entry)) for entry in pickles]


def _scan(stream: io.BytesIO) -> None:
    """Check one pickle, and leave the stream at its end. Raises CheckpointError."""
    stack: list[int] = []  # how deeply the tuples of each value are nested
    memo: dict[int, int] = {}
    code: pickletools.OpcodeInfo
    value: Any
    for code, value, _ in pickletools.genops(stream):
        if code.name == "GLOBAL" and value not in _ALLOWED:
            raise CheckpointError(
                f"it asks for {value.replace(' ', '.')}, which a file of tensors does not need. "
                f"It may be hostile; nothing in it was run. Where you trust it, save the weights "
                f"alone: torch.save(model.state_dict(), FILE)"
            )
        if code.name in ("BINPUT", "LONG_BINPUT"):
            memo[value] = stack[-1]
            continue
        if code.name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[value])
            continue
        deepest = 0
        for kind in reversed(code.stack_before):
            while kind is pickletools.stackslice and stack[-1] >= 0:
                deepest = max(deepest, stack.pop())
            if kind is not pickletools.stackslice:
                deepest = max(deepest, stack.pop())
        is_tuple = code.name.startswith("TUPLE")
        if is_tuple and deepest > _NESTING:
            raise CheckpointError("its tuples are nested too deeply for a file of tensors")
        depth = -1 if code.name == "MARK" else deepest + 1 if is_tuple else 0
        stack += [depth] * len(code.stack_after)


def _tensors(content: Any, size: int) -> dict[str, Tensor]:
    """Return the tensors of a state dict, each in its own memory. Raises CheckpointError."""
    for name in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
            break
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise CheckpointError("it is not a dictionary of tensors")
    if sum(value.numel() * value.itemsize for value in content.values()) > 2 * size:
        # a tied head may be stored twice; more than that fills the memory from a small file
        raise CheckpointError("it claims more numbers than it holds")
    return {name: value.detach().clone().contiguous() for name, value in content.items()}
