"""Where the files of a split are: in a folder, in one of its subfolders, or on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpt1.data.sources import HUB, find_files
from gpt1.errors import DataError

Source = str | Path


@dataclass(frozen=True)
class Files:
    """The names that a data set's files go by.

    folders: names of its folder, seen from the one that holds several data sets. splits: split ->
    alternatives, each a group of files (with * for any name) that are read together. hub: the
    repository, and split -> its files there.
    """

    folders: tuple[str, ...]
    splits: Mapping[str, tuple[tuple[str, ...], ...]]
    hub: str = ""
    hub_files: Mapping[str, str] = field(default_factory=dict)


def find_split(files: Files, source: Source, split: str, *, missing_ok: bool = False) -> list[Path]:
    """Return the local files of a split, fetching them from the hub if the source is there.

    With missing_ok nothing is fetched: the list tells only whether the source has the split.
    Raises DataError, HubError.
    """
    if str(source) == HUB.rstrip(":") or str(source).startswith(HUB):
        pattern = files.hub_files.get(split)
        if missing_ok:
            return [Path(pattern)] if pattern else []
        return _on_hub(files, str(source), split, pattern)
    folder = Path(source)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(
            f"{folder} {what}; name the folder of {files.folders[0]}, or one that holds it."
        )
    places = [place for name in files.folders if (place := folder / name).is_dir()] + [folder]
    alternatives = files.splits.get(split, ())
    for place in places:
        for group in alternatives:
            found = [_matching(place, name) for name in group]
            if all(found):
                return [path for paths in found for path in paths]
    if missing_ok:
        return []
    names = ", or ".join(" and ".join(group) for group in alternatives)
    raise DataError(
        f"{places[0]} has no file of {files.folders[0]}'s split {split}; looked for: "
        f"{names or 'none'}. Name the folder of {files.folders[0]}, or one that holds it."
    )


def _matching(place: Path, name: str) -> list[Path]:
    if "*" in name:
        return sorted(place.glob(name))
    return [path for ending in ("", ".gz") if (path := place / f"{name}{ending}").is_file()][:1]


def _on_hub(files: Files, source: str, split: str, pattern: str | None) -> list[Path]:
    name = source.removeprefix("hub").removeprefix(":") or files.hub
    if not name or not pattern:
        has = ", ".join(files.hub_files) or "none"
        raise DataError(
            f"{files.folders[0]}: the split {split} is not known on the hub (known there: {has}). "
            f"Name a folder with the data set's files."
        )
    return find_files(f"{HUB}{name}/{pattern}")


def hub_files(config: str) -> dict[str, str]:
    """Return where the hub keeps a configuration of a data set, as far as its layout is the usual.

    Of nyu-mll/glue the columns and integer labels that the entries expect are from memory.

    >>> hub_files("rte")["dev"]
    'rte/validation-*.parquet'
    """
    names = {"train": "train", "dev": "validation", "test": "test"}
    return {split: f"{config}/{name}-*.parquet" for split, name in names.items()}
