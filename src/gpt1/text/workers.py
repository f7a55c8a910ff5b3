"""Encode with several processes.

A worker is a Python process of its own that reads texts and writes ids: no fork (a process that has
run torch has threads), and no import of the caller's main module. The calling process works too, so
that nothing waits for workers to start; results come in order and do not depend on their number.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import struct
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Timer
from typing import IO, TYPE_CHECKING

import numpy as np

from gpt1.errors import InputError

if TYPE_CHECKING:
    from gpt1.text.tokenizer import Ids, Tokenizer

_JOB = 1 << 19
"""Characters a job: enough to hide the cost of sending it, few enough to share out evenly."""
_AHEAD = 4
"""Jobs a process that wait or are done, so that memory is bounded."""
_PATIENCE = 60.0
"""Seconds, and one for each _SLOWEST characters, until a silent worker is ended as if lost."""
_SLOWEST = 20_000
"""Characters a second that any machine reaches many times over."""
_MAIN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gpt1.text.workers import serve; serve()"
)


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """`count` processes that encode as `tokenizer` does, the calling one included.

    They end with `close`, with this object, or with the program.
    """

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        self.count = count
        self._tokenizer = tokenizer
        self._free: SimpleQueue[_Process] = SimpleQueue()
        processes = [_Process(tokenizer) for _ in range(count - 1)]
        for process in processes:
            self._free.put(process)
        self._threads = ThreadPoolExecutor(count - 1, "gpt1-encode")
        self._end = weakref.finalize(self, _close, self._threads, processes)

    def map(self, texts: Iterable[str]) -> Iterator[Ids]:
        """Yield the ids of each text, in order. Raises InputError as the tokenizer does."""
        jobs = _jobs(texts)
        waiting: deque[_Job] = deque()
        try:
            while True:
                while len(waiting) < _AHEAD * self.count and (job := next(jobs, None)):
                    waiting.append(_Job(job, self._threads.submit(self._remote, job)))
                if not waiting:
                    return
                first = waiting[0]
                while not first.future.done() and (mine := self._cancel_one(waiting)):
                    mine.result = self._here(mine.texts)
                if first.result is None:
                    with suppress(EOFError, OSError):  # a lost worker's texts are done here
                        first.result = first.future.result()
                yield from self._here(first.texts) if first.result is None else first.result
                waiting.popleft()
        finally:
            for job_left in waiting:
                job_left.future.cancel()

    def _cancel_one(self, jobs: Iterable[_Job]) -> _Job | None:
        """Return a job that no worker has begun, so that this process may do it."""
        return next((job for job in jobs if job.result is None and job.future.cancel()), None)

    def _here(self, texts: Sequence[str]) -> list[Ids]:
        return [self._tokenizer.encode_array(text) for text in texts]

    def _remote(self, texts: Sequence[str]) -> list[Ids]:
        process = self._free.get()
        try:
            return process.encode(texts)
        finally:
            self._free.put(process)

    def close(self) -> None:
        """End the workers."""
        self._end()


class _Job:
    def __init__(self, texts: Sequence[str], future: Future[list[Ids]]) -> None:
        self.texts, self.future = texts, future
        self.result: list[Ids] | None = None


def _close(threads: ThreadPoolExecutor, processes: Sequence[_Process]) -> None:
    threads.shutdown(cancel_futures=True)
    for process in processes:
        process.close()


def _jobs(texts: Iterable[str]) -> Iterator[list[str]]:
    job: list[str] = []
    size = 0
    for text in texts:
        job.append(text)
        size += len(text) + 1
        if size >= _JOB:
            yield job
            job, size = [], 0
    if job:
        yield job


class _Process:
    """One worker, seen from the calling process."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in: IO[bytes] = self._process.stdin
        self._out: IO[bytes] = self._process.stdout
        self._dtype = tokenizer.dtype
        with suppress(OSError):  # shows again when the first texts are sent
            _send(self._in, json.dumps(tokenizer.state()).encode())

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids. Raises InputError; EOFError or OSError if it is gone or hangs."""
        watch = Timer(_PATIENCE + sum(map(len, texts)) / _SLOWEST, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            _send(self._in, json.dumps(texts).encode())
            kind, lengths, ids = (_receive(self._out) for _ in range(3))
        finally:
            watch.cancel()
        if kind == b"error":
            raise InputError(lengths.decode())
        ends = np.cumsum(np.frombuffer(lengths, np.int64))[:-1]
        return list(np.split(np.frombuffer(ids, self._dtype), ends))

    def close(self) -> None:
        with suppress(OSError):
            self._in.close()  # a worker ends when its input does
        self._out.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # it hangs
            self._process.kill()
            self._process.wait()


def serve() -> None:
    """Encode what comes in until there is no more: the main function of a worker."""
    from gpt1.text.english import without_torch
    from gpt1.text.tokenizer import Tokenizer

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the calling process decides when to end
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    gc.disable()  # nothing here makes cycles, and it would look through the caches over and over
    os.dup2(2, 1)  # whatever a library prints must not get among the ids
    with suppress(EOFError, BrokenPipeError), without_torch():
        tokenizer = Tokenizer.from_state(json.loads(_receive(source)))
        while True:
            texts = json.loads(_receive(source))
            try:
                ids = [tokenizer.encode_array(text) for text in texts]
            except InputError as error:
                parts = (b"error", str(error).encode("utf-8", "replace"), b"")
            else:
                lengths = np.array([len(array) for array in ids], np.int64)
                parts = (b"ids", lengths.tobytes(), np.concatenate(ids).tobytes())
            for part in parts:
                _send(target, part)


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(struct.pack("<Q", len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    head = stream.read(8)
    data = stream.read(struct.unpack("<Q", head)[0]) if len(head) == 8 else b""
    if len(head) != 8 or len(data) != struct.unpack("<Q", head)[0]:
        raise EOFError
    return data
