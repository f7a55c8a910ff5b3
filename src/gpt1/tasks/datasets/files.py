"""The files of a split: in a folder, in one of its subfolders, or on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from gpt1.data.sources import HUB, find_files
from gpt1.errors import DataError

Source = str | Path
TSV = {split: f"{split}.tsv" for split in ("train", "dev", "test")}
"""The files of a split, as GLUE names them."""


@dataclass(frozen=True)
class Files:
    """The names of a data set's files.

    folders: names of its folder within the folder of all data sets. splits: split -> its files,
    with " | " between alternatives, " + " between files that are read together, and * for any name.
    hub: the repository; hub_files: split -> its files there.
    """

    folders: tuple[str, ...]
    splits: Mapping[str, str]
    hub: str = ""
    hub_files: Mapping[str, str] = field(default_factory=dict)

    def are_named_in(self, path: str) -> bool:
        """Return whether a path, in lower case, has the name of the set's folder in it."""
        return any(folder.casefold() in path for folder in self.folders)


def glue(name: str, *folders: str, **splits: str) -> Files:
    """Return the files of a data set of GLUE, by default train.tsv, dev.tsv and test.tsv."""
    return Files((name, *folders), TSV | splits, "nyu-mll/glue", hub_files(name))


def hub_files(config: str) -> dict[str, str]:
    """Return the files of a configuration of a data set on the hub, in the usual layout.

    >>> hub_files("rte")["dev"]
    'rte/validation-*.parquet'
    """
    names = {"train": "train", "dev": "validation", "test": "test"}
    return {split: f"{config}/{name}-*.parquet" for split, name in names.items()}


def find_split(files: Files, source: Source, split: str, *, missing_ok: bool = False) -> list[Path]:
    """Return the local files of a split, fetched from the hub if `source` names it.

    With missing_ok nothing is fetched and the list may be empty: it only tells whether the source
    has the split. Raises DataError, HubError.
    """
    if str(source) == HUB.rstrip(":") or str(source).startswith(HUB):
        pattern = files.hub_files.get(split)
        if missing_ok:
            return [Path(pattern)] if pattern else []
        return _on_hub(files, str(source), split, pattern)
    folder, name = Path(source), files.folders[0]
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {what}; name the folder of {name}, or one that holds it.")
    alternatives = files.splits.get(split, "")
    folders = [path for other in files.folders if (path := folder / other).is_dir()] + [folder]
    for path in folders:
        for group in alternatives.split(" | ") if alternatives else ():
            matches = [_matching(path, file) for file in group.split(" + ")]
            if all(matches):
                return list(chain.from_iterable(matches))
    if missing_ok:
        return []
    names = alternatives.replace(" | ", ", or ").replace(" + ", " and ") or "none"
    raise DataError(
        f"{folders[0]} has no file of {name}'s split {split}; looked for: {names}. Name the folder "
        f"of {name}, or one that holds it."
    )


def _matching(folder: Path, name: str) -> list[Path]:
    if "*" in name:
        return sorted(folder.glob(name))
    return [path for ending in ("", ".gz") if (path := folder / f"{name}{ending}").is_file()][:1]


def _on_hub(files: Files, source: str, split: str, pattern: str | None) -> list[Path]:
    name = source.removeprefix("hub").removeprefix(":") or files.hub
    if not name or not pattern:
        has = ", ".join(files.hub_files) or "none"
        raise DataError(
            f"{files.folders[0]}: the split {split} is not known on the hub (known there: {has}). "
            f"Name a folder with the data set's files."
        )
    return find_files(f"{HUB}{name}/{pattern}")
