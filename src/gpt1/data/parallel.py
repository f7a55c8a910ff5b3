"""Texts -> ids on all processors.

A worker is a new Python process that reads texts from its stdin and writes ids to its stdout. It is
not forked, since a process that has run torch has threads, and does not import the caller's main
module, so that programs need no main guard. The calling process encodes too, and does not wait for
workers to start. Ids come in order and do not depend on the number of processes.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from queue import SimpleQueue
from threading import Timer
from typing import Self

import numpy as np

from gpt1.errors import InputError
from gpt1.text.english import without_torch
from gpt1.text.pre_tokenizers import check_texts
from gpt1.text.tokenizer import IdArray, Tokenizer

_JOB = 1 << 19  # characters: enough to hide the cost of sending, few enough to share out evenly
_AHEAD = 4  # jobs per process that wait or are done, so that memory is bounded
_WORTH_WORKERS = 1 << 23  # characters from which on more processes are faster
_PATIENCE = 60.0  # seconds, and one for each _SLOWEST characters, until a silent worker is killed
_SLOWEST = 20_000  # characters per second that any machine exceeds many times
_MAIN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from gpt1.data.parallel import serve; serve()"
)

EncodedJob = tuple[list[int], IdArray]
"""The numbers of ids of a job's texts, and their ids one after the other."""


def cpu_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def encode_texts(
    tokenizer: Tokenizer, texts: Iterable[str], workers: int | None = None
) -> Iterator[IdArray]:
    """Yield the ids of each of `texts`, in order, without reading far ahead.

    `workers` is the number of processes; by default one, or all processors from 8 M characters on.
    Raises InputError as the tokenizer does.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; it must be at least 1, or None.")
    return _encode(tokenizer, check_texts(texts), workers)


def _encode(tokenizer: Tokenizer, texts: Iterator[str], workers: int | None) -> Iterator[IdArray]:
    if workers is None:
        head = next(jobs(texts, _WORTH_WORKERS), [])
        workers = cpu_count() if sum(map(len, head)) + len(head) >= _WORTH_WORKERS else 1
        texts = chain(head, texts)
    if workers == 1:
        yield from map(tokenizer.encode_array, texts)
        return
    with EncoderPool(tokenizer, workers) as pool:
        yield from pool.encode(texts)


class EncoderPool:
    """A context of `count` processes that encode as `tokenizer` does, the calling one included."""

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        self._tokenizer, self._count = tokenizer, count
        self._workers = [_Worker(tokenizer) for _ in range(count - 1)]
        self._idle: SimpleQueue[Callable[[list[str]], list[IdArray]]] = SimpleQueue()
        for encode in (self._encode_here, *(worker.encode for worker in self._workers)):
            self._idle.put(encode)
        self._threads = ThreadPoolExecutor(count, "gpt1-encode")

    def encode(self, texts: Iterable[str]) -> Iterator[IdArray]:
        """Yield the ids of each text, in order. Raises InputError as the tokenizer does."""
        pending: deque[Future[list[IdArray]]] = deque()
        try:
            for job in jobs(texts, _JOB):
                pending.append(self._threads.submit(self._encode_job, job))
                if len(pending) == _AHEAD * self._count:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _encode_job(self, texts: list[str]) -> list[IdArray]:
        encode = self._idle.get()
        try:
            return encode(texts)
        except (EOFError, OSError, pickle.UnpicklingError):  # the worker is lost: encode here
            encode = self._encode_here
            return encode(texts)
        finally:
            self._idle.put(encode)

    def _encode_here(self, texts: list[str]) -> list[IdArray]:
        return [self._tokenizer.encode_array(text) for text in texts]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()


class _Worker:
    """A worker, as the calling process sees it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin
        assert self.process.stdout
        self._in, self._out = self.process.stdin, self.process.stdout
        self._to_send: list[object] = [tokenizer.state()]  # later: now nobody reads it yet

    def encode(self, texts: list[str]) -> list[IdArray]:
        """Return the ids. Raises InputError; EOFError, OSError or UnpicklingError if it is lost."""
        watch = Timer(_PATIENCE + sum(map(len, texts)) / _SLOWEST, self.process.kill)
        watch.daemon = True
        watch.start()
        try:
            for message in (*self._to_send, texts):
                pickle.dump(message, self._in)
            self._in.flush()
            self._to_send = []
            answer = pickle.load(self._out)
        finally:
            watch.cancel()
        if isinstance(answer, InputError):
            raise answer
        return split_job(answer)

    def close(self) -> None:
        """End the process, by ending its input."""
        with suppress(OSError):
            self._in.close()
        self._out.close()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # it hangs
            self.process.kill()
            self.process.wait()


def serve() -> None:
    """Encode jobs from stdin until it ends: the main function of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the calling process decides when to end
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    gc.disable()  # there are no cycles here, only large caches to search
    os.dup2(2, 1)  # what a library prints must not get among the ids
    with suppress(EOFError, BrokenPipeError), without_torch():
        tokenizer = Tokenizer.from_state(pickle.load(source))
        while True:
            texts = pickle.load(source)
            try:
                answer: EncodedJob | InputError = encode_job(tokenizer, texts)
            except InputError as error:
                answer = error
            pickle.dump(answer, target)
            target.flush()


def jobs(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield the texts in lists of about `size` characters."""
    job: list[str] = []
    characters = 0
    for text in texts:
        job.append(text)
        characters += len(text) + 1
        if characters >= size:
            yield job
            job, characters = [], 0
    if job:
        yield job


def encode_job(tokenizer: Tokenizer, texts: list[str]) -> EncodedJob:
    """Return the ids of a job's texts as one array, which is faster to send than many."""
    arrays = [tokenizer.encode_array(text) for text in texts]
    return [len(array) for array in arrays], np.concatenate(arrays)


def split_job(job: EncodedJob) -> list[IdArray]:
    """Return the ids of each text of a job."""
    lengths, ids = job
    return np.split(ids, np.cumsum(lengths)[:-1])
