"""Weights in one file or in parts: by an index of which tensor is in which, or by their numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gpt1.errors import CheckpointError
from gpt1.storage import Folder
from gpt1.storage.reader import check_name

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_STATE = re.compile(r"(optimizer|scheduler|scaler|rng_state|training_args)\b")  # not weights
_NUMBERED = re.compile(r"(.+)-(\d{1,5})-of-(\d{1,5})(\.[a-z]+)")

Reader = Callable[[str], "dict[str, Tensor]"]
"""A file's name -> its tensors."""


def whole_name(name: str) -> str:
    """Return the name that a part's file would have if there were only one.

    >>> whole_name("model-00001-of-00002.safetensors")
    'model.safetensors'
    """
    match = _NUMBERED.fullmatch(name)
    return match[1] + match[4] if match else name


def find_pickle(names: Sequence[str]) -> str | None:
    """Return the name of the pickle, or of a part of it, that holds a model's weights."""
    pickles = [n for n in sorted(names) if n.endswith(PICKLES) and not _STATE.match(n)]
    preferred = [n for n in pickles if whole_name(n) == "pytorch_model.bin"]
    return next(iter(preferred or pickles), None)


def are_in(folder: Folder, whole: str) -> bool:
    """Return whether a folder has the file `whole`, parts of it or their index."""
    names = folder.names()
    return f"{whole}.index.json" in names or any(whole_name(name) == whole for name in names)


def read(folder: Folder, whole: str, read_file: Reader) -> dict[str, Tensor]:
    """Return the tensors of the file `whole`, or of all its parts.

    Raises CheckpointError naming the parts that are missing, or that lie elsewhere.
    """
    if whole in folder:
        return read_file(whole)
    index = f"{whole}.index.json"
    if index in folder:
        return _indexed(folder, whole, index, read_file)
    present = [name for name in folder.names() if whole_name(name) == whole]
    numbers = [tuple(map(int, _NUMBERED.fullmatch(name).group(2, 3))) for name in present]  # type: ignore[union-attr]
    count = numbers[0][1]
    if any(total != count for _, total in numbers):
        raise CheckpointError(
            f"{folder.path} holds parts of different models: {', '.join(present[:8])}. "
            f"Download one of them again, into a folder of its own."
        )
    if missing := sorted(set(range(1, count + 1)) - {number for number, _ in numbers})[:8]:
        stem, _, _, ending = _NUMBERED.fullmatch(present[0]).groups()  # type: ignore[union-attr]
        raise _lacks(folder, [f"{stem}-{i:05}-of-{count:05}{ending}" for i in missing], present[0])
    stored: dict[str, Tensor] = {}
    for name in present:
        part = read_file(name)
        if twice := sorted(part.keys() & stored.keys()):
            raise CheckpointError(f"{folder.path / name} holds {twice[0]}, as does a part before.")
        stored |= part
    return stored


def _indexed(folder: Folder, whole: str, index: str, read_file: Reader) -> dict[str, Tensor]:
    content = folder.json(index)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(n, str) for n in places.values()):
        raise CheckpointError(f"{folder.path / index} has no weight_map. Download it again.")
    ending = whole[whole.rindex(".") :]
    names = sorted(set(places.values()))
    for name in names:
        check_name(name, folder.path / index)
        if not name.endswith(ending):
            raise CheckpointError(
                f"{folder.path / index} names {name!r}, which is not a {ending} file."
            )
    present = folder.names()
    if missing := [name for name in names if name not in present][:8]:
        raise _lacks(folder, missing, index)
    stored: dict[str, Tensor] = {}
    for name in names:
        part = read_file(name)
        if wrong := sorted(tensor for tensor in part if places.get(tensor) != name)[:8]:
            raise CheckpointError(
                f"{folder.path / name} holds {', '.join(wrong)}, which {index} does not place "
                f"there. The files are of different models; download them again."
            )
        stored |= part
    if absent := sorted(places.keys() - stored.keys())[:8]:
        raise CheckpointError(
            f"{folder.path} lacks {', '.join(absent)}, which {index} lists. Download it again."
        )
    return stored


def _lacks(folder: Folder, missing: list[str], named_by: str) -> CheckpointError:
    return CheckpointError(
        f"{folder.path} lacks {', '.join(missing)}, which {named_by} belongs with. All parts are "
        f"needed; download them again."
    )
