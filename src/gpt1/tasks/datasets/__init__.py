"""The data sets of the paper, by name."""

from __future__ import annotations

from gpt1.errors import ConfigError, did_you_mean
from gpt1.tasks.datasets.entry import DataSet, DevSplit, Rows
from gpt1.tasks.datasets.files import Files
from gpt1.tasks.datasets.layout import Layout
from gpt1.tasks.datasets.paper import DATA_SETS

__all__ = ["DATA_SETS", "DataSet", "DevSplit", "Files", "Layout", "Rows", "data_set"]


def data_set(name: str) -> DataSet:
    """Return the data set of that name. Raises ConfigError if there is none."""
    folded = name.casefold().replace("-", "").replace("_", "")
    if folded in DATA_SETS:
        return DATA_SETS[folded]
    nearest = did_you_mean(folded, DATA_SETS)
    raise ConfigError(f"there is no data set {name!r}; there are {', '.join(DATA_SETS)}.{nearest}")
