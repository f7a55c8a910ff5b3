"""One thread that runs the models, and what the event loop asks of it.

    admit     counts a request among those that wait, or refuses it
    submit    gives its rows to an engine; their events come through `Job.steps`
    call      runs a function of the model between two steps
    close     ends what is left of a request, such as the rows of a client that has gone

The thread takes commands from a queue between two steps, runs one call, and steps the engine of
each model in turn; the events of a step reach the event loop at once. Every attribute belongs to
the event loop, but for those that only the thread's methods use.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from gpt1.config import SamplingConfig
from gpt1.errors import counted
from gpt1.generation.request import Event, Prompt, encode_prompt
from gpt1.model.allocator import Gaps
from gpt1.serving.metrics import Metrics
from gpt1.serving.models import Served
from gpt1.serving.protocol import Refusal

T = TypeVar("T")
_log = logging.getLogger("gpt1.serving")
_DEAD = "the model stopped unexpectedly; the server must be started again."


@dataclass(eq=False)
class Ticket:
    """A request, from its admission to the end of its answer."""

    admitted: float = field(default_factory=time.monotonic)
    waiting: bool = True
    open: set[asyncio.Future[Any] | Job] = field(default_factory=set)


@dataclass(eq=False)
class Job:
    """Rows of a request that an engine writes, numbered in the order of `settings`."""

    ticket: Ticket
    served: Served
    prompts: Sequence[Prompt]
    settings: Sequence[Sequence[SamplingConfig]]
    """For each prompt those of its rows."""
    accepted: asyncio.Future[list[list[int]]]
    """The ids of the prompts, once all rows are with the engine."""
    queue: asyncio.Queue[list[tuple[int, Event]] | Exception] = field(default_factory=asyncio.Queue)
    numbers: list[int] = field(default_factory=list)
    """The engine's numbers of the rows; the thread's."""
    latest: dict[int, float] = field(default_factory=dict)
    """When each row that has begun had its latest event."""

    async def steps(self) -> AsyncIterator[list[tuple[int, Event]]]:
        """Yield (row, event) of each step until all rows have ended.

        Raises Refusal if the thread dies.
        """
        running = sum(map(len, self.settings))
        while running:
            some = await self.queue.get()
            if isinstance(some, Exception):
                raise some
            running -= sum(event.generation is not None for _, event in some)
            yield some


class Scheduler:
    """Runs models in a thread; refuses requests when `limit` of them wait.

    `start` and all other methods are for the event loop.
    """

    def __init__(self, models: Sequence[Served], limit: int, metrics: Metrics) -> None:
        self.models = models
        self.limit = limit
        self.draining = False
        self._metrics = metrics
        self._tickets: set[Ticket] = set()
        self._waiting = 0
        self._idle = asyncio.Event()
        self._commands: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._calls: deque[Callable[[], object]] = deque()
        self._rows: dict[Served, dict[int, tuple[Job, int]]] = {model: {} for model in models}
        self._gaps = Gaps()
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._stopping = False
        self._failed = False
        metrics.watch(lambda: self._waiting, lambda: len(self._tickets))

    def start(self) -> None:
        """Start the thread; its answers go to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """End the thread after its present step."""
        self._stopping = True
        self._commands.put(lambda: None)
        await asyncio.to_thread(self._thread.join)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and not self._failed

    async def drain(self) -> None:
        """Refuse new requests; return when every accepted one has its whole answer."""
        self.draining = True
        while self._tickets:
            self._idle.clear()
            await self._idle.wait()

    # --- requests

    def admit(self) -> Ticket:
        """Return a ticket for a request. Raises Refusal."""
        self._check()
        if self.draining:
            raise Refusal(503, "the server is about to stop.", code="draining", retry_after=5)
        if self._waiting >= self.limit:
            raise Refusal(
                429,
                f"the queue is full, with {counted(self._waiting, 'request')}; try again later.",
                code="queue_full",
                retry_after=1,
            )
        ticket = Ticket()
        self._tickets.add(ticket)
        self._waiting += 1
        return ticket

    def close(self, ticket: Ticket) -> None:
        """End what is left of a request."""
        self._begin(ticket)
        for item in list(ticket.open):
            if isinstance(item, Job):
                self._commands.put(partial(self._cancel, item))
            else:
                item.cancel()
        self._tickets.discard(ticket)
        if not self._tickets:
            self._idle.set()

    async def submit(
        self,
        ticket: Ticket,
        served: Served,
        prompts: Sequence[Prompt],
        settings: Sequence[Sequence[SamplingConfig]],
    ) -> tuple[Job, list[list[int]]]:
        """Give rows to a model's engine, for each prompt one for each of its settings.

        Returns them with the prompts' ids. Raises as `Engine.submit`; then no row runs.
        """
        self._check()
        job = Job(ticket, served, prompts, settings, self._loop.create_future())
        ticket.open.add(job)
        self._commands.put(partial(self._submit, job))
        return job, await job.accepted

    async def call(self, ticket: Ticket, function: Callable[..., T], *arguments: Any) -> T:
        """Run a function in the model thread and return its result."""
        self._check()
        future: asyncio.Future[T] = self._loop.create_future()
        ticket.open.add(future)
        call = partial(self._work, future, partial(function, *arguments))
        self._commands.put(partial(self._calls.append, call))
        try:
            return await future
        finally:
            ticket.open.discard(future)
            self._begin(ticket)

    def _check(self) -> None:
        """Raise Refusal if nobody would take a command."""
        if not self.is_alive:
            raise Refusal(503, _DEAD, code="model_stopped")

    def _begin(self, ticket: Ticket) -> None:
        self._waiting -= ticket.waiting
        ticket.waiting = False

    def _deliver(self, events: Sequence[tuple[Job, int, Event]]) -> None:
        """Hand the events of a step to those who wait for them."""
        now = time.monotonic()
        by_job: dict[Job, list[tuple[int, Event]]] = {}
        for job, row, event in events:
            by_job.setdefault(job, []).append((row, event))
            if event.generation is not None and event.generation.finish_reason == "error":
                self._metrics.failed(job.served.name)
            if event.id is not None:
                self._metrics.token(job.served.name, now, job.latest.get(row), job.ticket.admitted)
                job.latest[row] = now
        for job, some in by_job.items():
            self._begin(job.ticket)
            job.queue.put_nowait(some)

    def _fail(self) -> None:
        """Tell everyone who waits that the thread has ended."""
        self._failed = True
        for ticket in list(self._tickets):
            for item in list(ticket.open):
                error = Refusal(503, _DEAD, code="model_stopped")
                _settle(item.accepted if isinstance(item, Job) else item, error=error)
                if isinstance(item, Job):
                    item.queue.put_nowait(error)

    # --- the thread

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException:
            _log.critical("the model thread has ended", exc_info=True)
        finally:
            self._tell(self._fail)

    def _turn(self) -> None:
        """Take what was asked; make one call, and one step of every engine that has rows."""
        busy = bool(self._calls) or any(len(model.engine) for model in self.models)
        if not busy:
            self._gaps.limit()  # so that memory does not grow with the requests
        with suppress(queue.Empty):
            while True:
                self._commands.get(block=not busy)()
                busy = True
        if self._calls:
            self._calls.popleft()()
        for model in self.models:
            if len(model.engine):
                rows = self._rows[model]
                events = model.engine.step()
                errors = Counter(event.error for event in events if event.error)
                for error, count in errors.items():
                    _log.error("texts of %s that failed: %d", model.name, count, exc_info=error)
                told = [(*rows[event.request], event) for event in events]
                for event in events:
                    if event.generation is not None:
                        del rows[event.request]
                self._tell(self._deliver, told)

    def _submit(self, job: Job) -> None:
        engine, rows = job.served.engine, self._rows[job.served]
        ids: list[list[int]] = []
        several = len(job.prompts) > 1
        try:
            for i, (prompt, settings) in enumerate(zip(job.prompts, job.settings, strict=True)):
                name = f"prompt {i}" if several else "the prompt"
                ids.append(encode_prompt(engine.tokenizer, prompt, engine.backend.config, name))
                for sampling in settings:
                    number = engine.submit(ids[-1], sampling, name=name)
                    rows[number] = job, len(job.numbers)
                    job.numbers.append(number)
        except Exception as error:
            self._cancel(job)
            self._tell(_settle, job.accepted, None, error)
        else:
            self._tell(_settle, job.accepted, ids)

    def _cancel(self, job: Job) -> None:
        for number in job.numbers:
            if self._rows[job.served].pop(number, None):
                with suppress(Exception):  # the row is gone, and so is who would hear of it
                    job.served.engine.cancel(number)

    def _work(self, future: asyncio.Future[Any], function: Callable[[], Any]) -> None:
        if future.done():  # the client has gone
            return
        try:
            result = function()
        except Exception as error:
            self._tell(_settle, future, None, error)
        else:
            self._tell(_settle, future, result)

    def _tell(self, function: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(
    future: asyncio.Future[Any], result: Any = None, error: Exception | None = None
) -> None:
    """Set a future's result or error, unless it was cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
