"""What predict, embed and score share: files in units, the engine that computes them, results."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from gpt1.data.dialect import ReadOptions
    from gpt1.data.units import Units

Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="This process, or Ray (at RAY_ADDRESS, if that is set), which gives the same bytes."
    ),
]


class Work(ABC):
    """What is computed from a unit; a copy that was sent elsewhere loads the model there.

    Cached properties stay behind, and torch gets as many threads as here, on which float32 sums
    depend.
    """

    def __init__(self, model: str) -> None:
        from gpt1.checkpoint import hub

        self.model = hub.from_anywhere(model)

    @abstractmethod
    def __call__(self, unit: list[Any]) -> tuple[Any, ...]:
        """Return results, of which the first has as many rows as the unit."""

    def __getstate__(self) -> dict[str, Any]:
        cached = {n for n, v in vars(type(self)).items() if isinstance(v, cached_property)}
        sent = {name: value for name, value in vars(self).items() if name not in cached}
        return {**sent, "threads": _threads()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(state.pop("threads"))
        vars(self).update(state)


class Results:
    """The results of all units on disk, in order; iterating again reads them again.

    They lie in a file without a name beside `out`, so that nothing is left whatever happens.
    """

    def __init__(self, out: Path | None) -> None:
        folder = out.parent if out is not None and out.parent.is_dir() else None
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._path = out or Path(tempfile.gettempdir())

    def add(self, result: tuple[Any, ...]) -> None:
        """Write a result. Raises StorageError."""
        from gpt1.storage import wrap_os_errors

        with wrap_os_errors("write", self._path):
            pickle.dump(result, self._file)

    def __iter__(self) -> Iterator[Any]:
        self._file.seek(0)
        while True:
            try:
                yield pickle.load(self._file)
            except EOFError:
                return


def compute(engine: str, units: Units[Any], work: Work, out: Path | None, status: str) -> Results:
    """Return what `work` makes of each unit, showing the progress as `status`."""
    from gpt1.cli.progress import Progress
    from gpt1.data import ray_data, units as local

    computed = local.compute(units, work)
    if engine == "ray":
        computed = ray_data.compute(units, work, _threads())
    results, done = Results(out), 0
    with Progress(status, "rows") as shown:
        for result in computed:
            results.add(result)
            done += len(result[0])
            shown.progress(done, 0)
    return results


def texts_in_units(
    files: list[str], column: str | None, limit: int | None, read: ReadOptions
) -> Units[str | None]:
    """Return the texts of files, None for a row that cannot be used. Raises DataError, HubError."""
    from gpt1.data.tables import Texts
    from gpt1.data.units import Units

    class Rows(Texts):
        __iter__ = Texts.rows  # type: ignore[assignment]

    return Units(Rows(files, column, limit, read), lambda text: len(text or ""))


def _threads() -> int:
    import torch

    return torch.get_num_threads()
