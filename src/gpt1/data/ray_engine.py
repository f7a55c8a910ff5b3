"""Texts -> ids on a Ray cluster: `gpt1 prepare --engine ray`.

`encode_texts` is that of parallel.py with Ray's tasks as workers: texts go out in jobs, ids come
back in order, and the same code writes the shards, so they are the same bytes. Ray reuses the
processes of its tasks, so each makes a tokenizer and its caches once, and repeats a task whose
process has died. One process reads and writes, which limits the speed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

from gpt1.data.parallel import EncodedJob, cpu_count, encode_job, jobs, split_job
from gpt1.errors import ConfigError, GPT1Error, InputError, first_line
from gpt1.text.english import without_torch
from gpt1.text.pre_tokenizers import check_texts
from gpt1.text.tokenizer import IdArray, Tokenizer

_JOB = 1 << 20  # characters: enough to hide the cost of a task, few enough to share out evenly
_AHEAD = 4  # jobs per worker that run or are done, so that memory is bounded
RETRIES = 3
"""Of a task whose process has died."""
_MEMORY = 128 << 20  # of Ray's own, beside texts and ids


def encode_texts(
    tokenizer: Tokenizer, texts: Iterable[str], workers: int | None = None
) -> Iterator[IdArray]:
    """Yield the ids of each of `texts`, in order, without reading far ahead.

    It uses the Ray that runs in this process, else the cluster at RAY_ADDRESS, else a new one on
    this machine, which ends with it. `workers` is the number of tasks at a time, by default that of
    the processors. Raises ConfigError without the extra `gpt1[ray]`; InputError as the tokenizer
    does; GPT1Error when Ray cannot be reached or gives up.
    """
    import_ray("ray")
    return _encode(tokenizer, check_texts(texts), workers)


def import_ray(name: str) -> None:
    """Import Ray, or a part of it. Raises ConfigError without the extra `gpt1[ray]`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"the engine is 'ray', which cannot be imported ({error}). "
            f'Run pip install "gpt1[ray]", or take the engine local.'
        ) from None


def _encode(tokenizer: Tokenizer, texts: Iterator[str], workers: int | None) -> Iterator[IdArray]:
    import ray

    memory = _MEMORY + 8 * _JOB * _AHEAD * (workers or cpu_count())
    with connected(workers, memory) as count:
        state = ray.put(json.dumps(tokenizer.state()).encode())
        task = ray.remote(max_retries=RETRIES)(encode_on_worker)
        in_order: deque[Any] = deque()
        running: list[Any] = []
        for job in jobs(texts, _JOB):
            if len(running) == count:
                _, running = ray.wait(running)
            in_order.append(task.remote(job, state))
            running.append(in_order[-1])
            while in_order[0] not in running or len(in_order) > _AHEAD * count:
                yield from _result(in_order.popleft())
        while in_order:
            yield from _result(in_order.popleft())


def encode_on_worker(texts: list[str], state: bytes) -> EncodedJob:
    """Return the ids of a job's texts: the function of a task."""
    return encode_job(_tokenizer(state), texts)


@lru_cache(maxsize=1)
def _tokenizer(state: bytes) -> Tokenizer:
    with without_torch():
        return Tokenizer.from_state(json.loads(state))


def _result(task: Any) -> list[IdArray]:
    import ray

    try:
        return split_job(ray.get(task))
    except ray.exceptions.RayError as error:
        if isinstance(cause := getattr(error, "cause", None), InputError):
            raise cause from None
        raise gave_up(error) from error


def gave_up(error: Exception) -> GPT1Error:
    """Return what to say about an error of Ray's: a task has failed too often, or raised."""
    import ray

    cause = getattr(error, "cause", error)  # what the task raised
    reason = f"{type(cause).__name__}: {first_line(cause)}"
    if isinstance(cause, ray.exceptions.WorkerCrashedError):
        reason = f"the process of a task died {1 + RETRIES} times"
    return GPT1Error(
        f"Ray gave up: {reason}. Every node needs this gpt1 and enough memory; check both and run "
        f"this again, or take the engine local."
    )


@contextmanager
def connected(workers: int | None, memory: int) -> Iterator[int]:
    """Start Ray unless it runs, and yield the number of tasks at a time; end it if started here.

    `memory`: the bytes of objects that a Ray started here keeps.
    """
    import ray

    started = not ray.is_initialized()
    if started:
        _connect(os.environ.get("RAY_ADDRESS"), workers or cpu_count(), memory)
    try:
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        if started:
            ray.shutdown()


def _connect(address: str | None, workers: int, memory: int) -> None:
    """Connect to the cluster at `address`, or start Ray on this machine. Raises GPT1Error."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        options |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": memory}
    try:
        if host := re.fullmatch(r"(?:ray://)?([^:/]+):(\d+)", address or ""):
            # Ray itself would try for minutes to reach a cluster that is not there
            socket.create_connection((host[1], int(host[2])), timeout=10).close()
        ray.init(address or "local", **options)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        what = f"reach the Ray at {address} (RAY_ADDRESS)" if address else "start Ray"
        raise GPT1Error(
            f"could not {what}: {first_line(error)}. Check it with ray status, or take the "
            f"engine local."
        ) from error
