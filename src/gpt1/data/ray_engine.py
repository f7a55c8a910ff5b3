"""Tokenise on a Ray cluster: `gpt1 prepare --engine ray`.

To `write_shards` this is a tokenizer like any other: texts go out in jobs, ids come back in order,
and what writes the shards is the code of the local engine, so they are the same bytes. Ray Data
cannot read an iterator without holding all of it, so each round of jobs is a data set of its own,
and memory does not grow with the corpus. Tasks, not actors: the processes of tasks outlive a data
set, so a tokenizer and its caches are made once in each. One process reads and writes; that is the
limit.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from gpt1.errors import ConfigError, GPT1Error, InputError
from gpt1.text.english import without_torch
from gpt1.text.tokenizer import Ids, Tokenizer
from gpt1.text.words import check_text
from gpt1.text.workers import cpu_count

if TYPE_CHECKING:
    import pyarrow as pa

_JOB = 1 << 20
"""Bytes of text a task: enough to hide what Ray takes for one, few enough to share out evenly."""
_ROUND = 32
"""Jobs a worker and round: the start of a data set is then a small part of it."""
_MOST = 8
"""Workers that a round grows with: more keep up with no one reader."""
_ATTEMPTS = 4
"""Processes that may die of one task before it is given up; Ray Data itself never gives up."""


class RayEncoder:
    """A tokenizer that encodes on Ray; as a context, it ends the Ray that it began.

    with RayEncoder(tokenizer) as encoder:
        write_shards("shards", texts, encoder)

    It takes the Ray that runs in this process, else the cluster at RAY_ADDRESS, else one of its own
    on this machine. Raises ConfigError without the extra `gpt1[ray]`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=DeprecationWarning)  # its own, of itself
                import ray.data

                ray.data.DataContext.get_current()
        except ImportError as error:
            raise ConfigError(
                f"the engine is 'ray', which cannot be imported ({error}). "
                f'Run pip install "gpt1[ray]", or take the engine local.'
            ) from None
        self._tokenizer = tokenizer
        self._state = json.dumps(tokenizer.state()).encode()
        self._began = False

    @property
    def fingerprint(self) -> str:
        return self._tokenizer.fingerprint

    def __len__(self) -> int:
        return len(self._tokenizer)

    def files(self) -> dict[str, bytes]:
        return self._tokenizer.files()

    def description(self) -> dict[str, Any]:
        return self._tokenizer.description()

    def encode_arrays(self, texts: Iterable[str], workers: int | None = None) -> Iterator[Ids]:
        """Yield the ids of each of `texts`, in order, at most two rounds of jobs ahead.

        `workers` is the number of tasks at a time, by default that of the processors. Raises
        InputError as the tokenizer does, GPT1Error when Ray cannot be reached or gives up.
        """
        if isinstance(texts, str):
            raise InputError("texts is one str; it must be several. Put it into a list.")
        return self._arrays(texts, workers)

    def _arrays(self, texts: Iterable[str], workers: int | None) -> Iterator[Ids]:
        count = self._start(workers)
        stopped = threading.Event()
        thread = ThreadPoolExecutor(1, "gpt1-ray")  # one round runs while the next is read
        running: deque[Future[list[Ids]]] = deque()
        try:
            for jobs in _rounds(texts, _ROUND * min(count, _MOST)):
                running.append(thread.submit(self._round, jobs, count, stopped))
                if len(running) > 1:
                    yield from running.popleft().result()
            while running:
                yield from running.popleft().result()
        finally:
            stopped.set()
            thread.shutdown(cancel_futures=True)

    def _round(
        self, jobs: Sequence[Sequence[bytes]], workers: int, stopped: threading.Event
    ) -> list[Ids]:
        import pyarrow as pa
        import ray

        arrays: list[Ids] = []
        try:
            tables = [pa.table({"text": pa.array(job, pa.binary())}) for job in jobs]
            dataset = ray.data.from_arrow(tables).map_batches(
                encode_table,
                batch_size=None,
                batch_format="pyarrow",
                compute=ray.data.TaskPoolStrategy(size=min(workers, len(jobs))),
                fn_args=(self._state,),
            )
            settings = dataset.context
            settings.execution_options.preserve_order = True
            settings.max_errored_blocks = 0  # a block left out would shift all that follow
            settings.enable_progress_bars = settings.print_on_execution_start = False
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                for fault in table["fault"].drop_null():
                    raise InputError(fault.as_py())
                for died in table["died"].drop_null():
                    raise _gave_up(f"the process of a task died {died} times")
                arrays += [np.frombuffer(ids, self._tokenizer.dtype) for ids in _values(table)]
                if stopped.is_set():
                    break
        except ray.exceptions.RayError as error:
            raise _gave_up(_reason(error)) from error
        return arrays

    def _start(self, workers: int | None) -> int:
        """See that Ray runs, and return the number of workers."""
        import ray

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it logs is raised too
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS")
            count = workers or cpu_count()
            local = {
                "num_cpus": count,
                "include_dashboard": False,
                # a round, the ids of it and of the one before
                "object_store_memory": (128 << 20) + 2 * _JOB * _ROUND * min(count, _MOST),
            }
            try:
                _knock(address or "")
                ray.init(
                    address or "local",
                    **({} if address else local),
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
                what = f"reach the Ray at {address} (RAY_ADDRESS)" if address else "start Ray"
                raise GPT1Error(
                    f"could not {what}: {_reason(error)}. Check it with ray status, or take the "
                    f"engine local."
                ) from error
            self._began = True
        return workers or max(1, int(ray.cluster_resources().get("CPU", 1)))

    def close(self) -> None:
        """End Ray, if it began here."""
        if self._began:
            import ray

            ray.shutdown()
            self._began = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def encode_table(table: pa.Table, state: bytes) -> pa.Table:
    """Return the ids of the texts of a table, or why there are none: the task of a worker."""
    import pyarrow as pa

    def answer(ids: list[bytes], fault: str | None = None, died: int | None = None) -> pa.Table:
        # as data: what is raised here comes back wrapped in errors of Ray
        return pa.table(
            {
                "ids": pa.array(ids, pa.binary()),
                "fault": pa.array([fault] * len(ids), pa.string()),
                "died": pa.array([died] * len(ids), pa.int64()),
            }
        )

    if (died := _deaths()) >= _ATTEMPTS:
        return answer([b""], died=died)
    tokenizer = _tokenizer(state)
    try:
        texts = map(_text, table["text"].to_pylist())
        return answer([tokenizer.encode_array(text).tobytes() for text in texts])
    except InputError as error:
        return answer([b""], fault=str(error).encode("utf-8", "replace").decode())


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at host:port: Ray would try for minutes."""
    if found := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address):
        socket.create_connection((found[1], int(found[2])), timeout=10).close()


def _deaths() -> int:
    """Return how many processes died of this task; Ray knows it, but has no public name for it."""
    with suppress(AttributeError):
        worker = import_module("ray._private.worker").global_worker
        return int(worker.core_worker.get_current_task_attempt_number())
    return 0


@lru_cache(maxsize=1)
def _tokenizer(state: bytes) -> Tokenizer:
    with without_torch():
        return Tokenizer.from_state(json.loads(state))


def _rounds(texts: Iterable[str], jobs: int) -> Iterator[list[list[bytes]]]:
    """Yield the texts as UTF-8, in rounds of so many jobs."""
    done: list[list[bytes]] = []
    job: list[bytes] = []
    size = 0
    for text in texts:
        job.append(_bytes(check_text(text)))
        size += len(job[-1]) + 1
        if size >= _JOB:
            done.append(job)
            job, size = [], 0
        if len(done) == jobs:
            yield done
            done = []
    if job:
        done.append(job)
    if done:
        yield done


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _values(table: pa.Table) -> list[bytes]:
    values: list[bytes] = table["ids"].to_pylist()
    return values


def _gave_up(reason: str) -> GPT1Error:
    return GPT1Error(
        f"Ray gave up: {reason}. Every node needs this gpt1, and memory enough; see to it and run "
        f"this again, or take the engine local."
    )


def _reason(error: BaseException) -> str:
    """Return what happened, in one line: of a task's error, the line of its trace that says it."""
    said = str(error).strip() or type(error).__name__
    raised = re.search(r"^[\w.]+(?:Error|Exception): .+", said, re.MULTILINE)
    return (raised.group() if raised else said.splitlines()[0]).rstrip(".")
