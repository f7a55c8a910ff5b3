"""Units of rows on Ray Data: `gpt1 predict`, `embed` and `score` with `--engine ray`.

One task on this machine reads the files and yields units, as fast as they are wanted; a task each
computes them, in processes that keep the model; results come back in order. A unit is one row of
the data set, as bytes, so that Ray neither joins nor splits units. Ray repeats what a dead process
was doing: reading starts again and gives the same units.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

from gpt1.data.ray_engine import RETRIES, connected, gave_up, import_ray
from gpt1.data.tables import RowCounts
from gpt1.data.units import Units
from gpt1.errors import GPT1Error

R = TypeVar("R")
_ITEM = "item"
_MEMORY = 512 << 20  # of Ray's own on this machine: units and results on their way


def compute(
    units: Units[R], work: Callable[[list[R]], Any], threads: int, memory: int = _MEMORY
) -> Iterator[Any]:
    """Yield what `work` makes of each unit, in order, as `units.compute` does.

    `work` is sent to each process, which gets `threads` processors. It uses the Ray that runs in
    this process, else the cluster at RAY_ADDRESS, else a new one here. Raises ConfigError without
    the extra `gpt1[ray]`; what reading and `work` raise; GPT1Error when Ray gives up.
    """
    import_ray("ray.data")
    return _compute(units, work, threads, memory)


def _compute(
    units: Units[R], work: Callable[[list[R]], Any], threads: int, memory: int
) -> Iterator[Any]:
    import ray

    with connected(None, memory) as processors, _context():
        here = ray.get_runtime_context().get_node_id()
        with _without_deprecations():  # max_retries is Ray's only bound; 2.64 drops it
            items = (
                ray.data.read_datasource(
                    _source(units),
                    override_num_blocks=1,
                    num_cpus=0,  # computing has all processors
                    label_selector={"ray.io/node-id": here},  # where the files are
                    ray_remote_args={"max_retries": RETRIES},
                )
                .map(
                    _compute_item,
                    fn_args=(ray.cloudpickle.dumps(work),),
                    compute=ray.data.TaskPoolStrategy(size=max(1, processors // threads)),
                    num_cpus=min(threads, processors),
                    max_retries=RETRIES,
                )
                .iter_rows()
            )
        try:
            for item in items:
                result = pickle.loads(item[_ITEM])
                if isinstance(result, GPT1Error):
                    raise result
                if isinstance(result, RowCounts):
                    units.counts = result
                else:
                    yield result[0]
        except ray.exceptions.RayError as error:
            raise gave_up(error) from error


def _compute_item(row: dict[str, bytes], work: bytes) -> dict[str, bytes]:
    """Return the result of an item of the data set; what is no unit is passed on."""
    unit = pickle.loads(row[_ITEM])
    if not isinstance(unit, list):
        return row
    result: Any
    try:
        result = (_loaded(work)(unit),)
    except GPT1Error as error:
        result = error
    return {_ITEM: pickle.dumps(result)}


@lru_cache(maxsize=1)
def _loaded(work: bytes) -> Callable[[Any], Any]:
    """Return what computes units, kept with its model until the process ends."""
    loaded: Callable[[Any], Any] = pickle.loads(work)
    return loaded


def _source(units: Units[Any]) -> Any:
    """Return a source of one task, which reads the files: its items are units, then the counts."""
    import pyarrow
    from ray.data.block import BlockMetadata
    from ray.data.datasource import Datasource, ReadTask

    def read() -> Iterator[Any]:
        try:
            for unit in units:
                yield pyarrow.table({_ITEM: [pickle.dumps(unit)]})
            end: RowCounts | GPT1Error = units.counts
        except GPT1Error as error:
            end = error
        yield pyarrow.table({_ITEM: [pickle.dumps(end)]})

    class Source(Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
            return [ReadTask(read, BlockMetadata(None, None, None, None))]

    return Source()


@contextmanager
def _without_deprecations() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextmanager
def _context() -> Iterator[None]:
    """Set Ray Data to results in order, an item a block, and no words, until the block ends."""
    from ray.data import DataContext

    with _without_deprecations():
        before = DataContext.get_current()
        context = before.copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1  # what an item exceeds, so that each is a block
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    DataContext._set_current(context)
    try:
        yield
    finally:
        DataContext._set_current(before)
