"""Read a PyTorch .bin without running anything in it: the only place where a pickle is opened.

A pickle is a program. This reader knows the few calls that a file of tensors needs (an ordered
dictionary and the rebuilding of tensors from storages) and stops at any other; the numbers are
plain bytes beside it, in a zip archive since PyTorch 1.6 and behind the pickle before.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpt1.checkpoint import folder, huggingface
from gpt1.checkpoint.tensors import Stored
from gpt1.errors import CheckpointError
from gpt1.storage import Folder

_PICKLE_LIMIT = 1 << 24  # the names and shapes of 100,000 tensors
_MAGIC = 0x1950A86A20F9469CFC6C  # of files from before PyTorch 1.6
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> _Tensor:
    good = type(storage) is _Storage and type(shape) is type(stride) is tuple
    if not good or not all(type(n) is int and n >= 0 for n in (offset, *shape, *stride)):
        raise ValueError("a tensor is malformed")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) > storage.count or (math.prod(shape) and last >= storage.count):
        raise ValueError("a tensor is larger than its storage")
    return _Tensor(storage, offset, shape, stride)


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _empty_dictionary() -> dict[str, Any]:
    return {}


_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _empty_dictionary,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


def _run(stream: io.BytesIO) -> Any:
    """Follow one pickle's instructions as far as tensors need them, on values of our own.

    The stream is left behind the pickle. Python's own unpickler is not used at all.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def put(items: list[Any]) -> None:
        if type(stack[-1]) is not dict or not all(type(name) is str for name in items[::2]):
            raise ValueError("a name is no text")
        stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def add(items: list[Any]) -> None:
        if type(stack[-1]) is not list:
            raise ValueError("a list is none")
        stack[-1].extend(items)

    code: pickletools.OpcodeInfo
    value: Any
    for code, value, _ in pickletools.genops(stream):
        match code.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                marks.append(len(stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[code.name])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(value)
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(code.name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "EMPTY_LIST":
                stack.append([])
            case "APPEND":
                add([stack.pop()])
            case "APPENDS":
                add(since_mark())
            case "EMPTY_DICT":
                stack.append({})
            case "SETITEM":
                put([stack.pop(-2), stack.pop()])
            case "SETITEMS":
                put(since_mark())
            case "GLOBAL":
                stack.append(_known(*value.split(" ", 1)))
            case "STACK_GLOBAL":
                name = stack.pop()
                stack.append(_known(stack.pop(), name))
            case "REDUCE":
                arguments, call = stack.pop(), stack.pop()
                if call not in _CALLS.values():
                    raise ValueError("it calls what is no function")
                stack.append(call(*arguments))
            case "BUILD":
                stack.pop()  # attributes of the dictionary, not needed
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case _:
                raise ValueError(f"it holds the instruction {code.name}")
    return stack.pop()


def _known(module: Any, name: Any) -> Any:
    """Return what stands for a name that a file of tensors needs."""
    if not type(module) is type(name) is str:
        raise ValueError("a name is no text")
    if module == "torch" and name in _STORAGES:
        return _STORAGES[name]
    if (module, name) in _CALLS:
        return _CALLS[module, name]
    raise CheckpointError(
        f"it asks for {module}.{name}, which a file of tensors has no need of. "
        f"It may be hostile; nothing in it was run"
    )


def _storage(saved: Any) -> _Storage:
    kind, dtype, key, _, count, *view = saved
    good = type(kind) is type(key) is str and type(count) is int and count >= 0
    if not good or kind != "storage" or type(dtype) is not torch.dtype or any(view):
        raise ValueError("a storage is malformed")
    return _Storage(dtype, key, count)


def read_bin(path: Path | str) -> dict[str, Stored]:
    """Return the tensors of a PyTorch file by name. Nothing in the file is run.

    Raises CheckpointError if it holds anything but tensors, or is damaged.
    """
    path = Path(path)
    data = Folder(path.parent).read(path.name)
    try:
        is_zip = zipfile.is_zipfile(io.BytesIO(data))
        named, bytes_of = _from_zip(data) if is_zip else _from_stream(data)
        total = sum(math.prod(t.shape) * t.storage.dtype.itemsize for t in named.values())
        if total > 2 * len(data):  # a tied head may stand in it twice
            raise ValueError("it claims more numbers than it holds")
        return {name: _stored(tensor, bytes_of(tensor.storage)) for name, tensor in named.items()}
    except CheckpointError as error:
        raise CheckpointError(f"{path} was not converted: {error}.") from None
    except Exception as error:  # what a damaged pickle can raise has no end
        raise CheckpointError(
            f"{path} is no whole PyTorch file of tensors ({type(error).__name__}: {error})."
        ) from None


def convert(source: Path | str, out: Path | str) -> folder.Loaded:
    """Turn a .bin, with the config.json and vocabulary beside it, into a model folder of ours.

    A folder of any format that `folder.load` reads is turned too. Raises CheckpointError (hostile,
    damaged, or no GPT-1), StorageError (disk, or `out` is taken).
    """
    source = Path(source)
    if source.is_dir():
        loaded = folder.load(source)
        folder.save(out, folder.build(loaded), loaded.tokenizer, loaded.extra, replace=False)
        return loaded
    beside = Folder(source.parent)
    if folder.CONFIG not in beside:
        raise CheckpointError(
            f"there is no {folder.CONFIG} beside {source}, which tells the model's shape. Add it."
        )
    config = huggingface.read_config(beside.json(folder.CONFIG), str(source.parent / folder.CONFIG))
    state = huggingface.to_state(config, read_bin(source), str(source))
    loaded = folder.Loaded(config, state, folder.load_tokenizer(beside, config))
    folder.save(out, folder.build(loaded), loaded.tokenizer, replace=False)
    return loaded


_Parts = tuple[dict[str, _Tensor], Callable[[_Storage], bytes]]


def _from_zip(data: bytes) -> _Parts:
    archive = zipfile.ZipFile(io.BytesIO(data))
    entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise ValueError("an entry is compressed, which PyTorch never does")
    if entries["data.pkl"].file_size > _PICKLE_LIMIT:
        raise ValueError("its pickle is too large to be a list of tensors")
    if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
        raise ValueError("its numbers are big-endian")
    found = _run(io.BytesIO(archive.read(entries["data.pkl"])))
    return _named(found), lambda storage: archive.read(entries[f"data/{storage.key}"])


def _from_stream(data: bytes) -> _Parts:
    stream = io.BytesIO(data)
    if _run(stream) != _MAGIC:
        raise ValueError("it does not begin like one")
    _run(stream)  # the protocol's number
    if not _run(stream)["little_endian"]:
        raise ValueError("its numbers are big-endian")
    named = _named(_run(stream))
    widths = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in named.values()}
    storages = {}
    for key in _run(stream):
        if type(key) is not str or key not in widths:
            raise ValueError("a storage belongs to no tensor")
        count = int.from_bytes(stream.read(8), "little")
        storages[key] = stream.read(count * widths[key])
    return named, lambda storage: storages[storage.key]


def _named(found: Any) -> dict[str, _Tensor]:
    if type(found) is dict and type(found.get("state_dict")) is dict:
        found = found["state_dict"]
    if type(found) is not dict or not all(type(tensor) is _Tensor for tensor in found.values()):
        raise ValueError("it is no dictionary of tensors")
    return found


def _stored(tensor: _Tensor, data: bytes) -> Stored:
    """Return a tensor's numbers, row-major, out of the bytes of its storage."""
    dtype = tensor.storage.dtype
    if len(data) != tensor.storage.count * dtype.itemsize:
        raise ValueError("numbers are missing")
    if not math.prod(tensor.shape):
        return Stored(dtype, tensor.shape, memoryview(b""))
    whole = torch.frombuffer(bytearray(data), dtype=dtype)
    view = whole.as_strided(tensor.shape, tensor.stride, tensor.offset)
    raw = view.contiguous().flatten().view(torch.uint8).numpy()
    return Stored(dtype, tensor.shape, memoryview(raw.tobytes()))
