"""The data sets of the paper, by name; each is one entry in the file of its task type."""

from __future__ import annotations

import difflib

from gpt1.errors import ConfigError
from gpt1.tasks.datasets import choice, classification, entailment, similarity
from gpt1.tasks.datasets.entry import DataSet, DevSplit, Layout, Rows
from gpt1.tasks.datasets.files import Files

__all__ = ["DATA_SETS", "DataSet", "DevSplit", "Files", "Layout", "Rows", "data_set"]

DATA_SETS: dict[str, DataSet] = {
    entry.name: entry
    for module in (classification, entailment, similarity, choice)
    for entry in module.ENTRIES
}


def data_set(name: str) -> DataSet:
    """Return the data set of that name. Raises ConfigError, naming the nearest."""
    folded = name.casefold().replace("-", "").replace("_", "")
    if folded in DATA_SETS:
        return DATA_SETS[folded]
    close = difflib.get_close_matches(folded, DATA_SETS, n=1)
    nearest = f" Did you mean {close[0]}?" if close else ""
    raise ConfigError(f"there is no data set {name!r}; there are {', '.join(DATA_SETS)}.{nearest}")
