"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "gpt1_requests", "Answers, by path and status.", ("path", "status"), registry=registry
        )
        self._seconds = Histogram(
            "gpt1_request_seconds",
            "From a request's body to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "gpt1_tokens", "Tokens read and written.", ("model", "kind"), registry=registry
        )
        self._failed = Counter(
            "gpt1_failed_texts", "Texts that ended by an error.", ("model",), registry=registry
        )
        self._first = Histogram(
            "gpt1_time_to_first_token_seconds",
            "From a request's admission to the first token of each text.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._between = Histogram(
            "gpt1_time_between_tokens_seconds",
            "Between two tokens of a text.",
            ("model",),
            buckets=_BETWEEN,
            registry=registry,
        )
        self._written = cache(  # looking labels up takes longer than counting
            lambda model: (
                self._tokens.labels(model, "written"),
                self._first.labels(model),
                self._between.labels(model),
            )
        )
        self._waiting = Gauge("gpt1_queue", "Requests that wait.", registry=registry)
        self._open = Gauge("gpt1_requests_open", "Requests without an end.", registry=registry)

    def watch(self, waiting: Callable[[], float], open: Callable[[], float]) -> None:
        """Read both gauges from functions."""
        self._waiting.set_function(waiting)
        self._open.set_function(open)

    def token(self, model: str, now: float, latest: float | None, admitted: float) -> None:
        """Count a new token; `latest` is when the one before it came."""
        tokens, first, between = self._written(model)
        tokens.inc()
        if latest is None:
            first.observe(now - admitted)
        else:
            between.observe(now - latest)

    def failed(self, model: str) -> None:
        """Count a text that ended by an error."""
        self._failed.labels(model).inc()

    def read(self, model: str, tokens: int) -> None:
        """Count tokens of prompts and texts."""
        self._tokens.labels(model, "read").inc(tokens)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus' format."""
        return generate_latest(self._registry)
