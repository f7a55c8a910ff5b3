"""The app on Ray Serve: `gpt1 serve --engine ray --replicas N`.

Each replica is a process with its own models, model thread and queue, and runs the app of `app.py`.
Ray's proxy takes the connections and shares requests out; it starts a new replica in place of one
that has died, or whose model thread has.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from threading import Event

import torch
from fastapi import FastAPI

from gpt1.checkpoint.hub import from_anywhere
from gpt1.config import ServeConfig
from gpt1.data.ray_engine import connected, import_ray
from gpt1.errors import GPT1Error, first_line
from gpt1.serving.app import create_app
from gpt1.serving.limits import Keys
from gpt1.serving.models import load, named

_MEMORY = 128 << 20  # of Ray's own, for requests and answers on their way
_DRAIN = 600.0  # seconds that a replica may take to answer what it has accepted
_APP = "gpt1"


def serve(models: Sequence[str], settings: ServeConfig, keys: Keys, replicas: int) -> None:
    """Serve models, given as to `models.load`, until SIGINT or SIGTERM.

    Each replica gets as many processors as torch has threads here. Raises ConfigError without the
    extra `gpt1[ray]`; GPT1Error when Ray cannot be reached, or the replicas do not start.
    """
    import_ray("ray.serve")
    from ray import serve as ray_serve

    ended = Event()
    names, given = zip(*map(named, models), strict=True)
    anywhere = [f"{n}={from_anywhere(model)}" for n, model in zip(names, given, strict=True)]
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    threads = torch.get_num_threads()
    with connected(replicas * threads, _MEMORY):
        for number in (signal.SIGINT, signal.SIGTERM):  # Ray has set its own
            signal.signal(number, lambda *_: ended.set())
        try:
            ray_serve.start(
                proxy_location="HeadOnly",
                http_options={
                    "host": settings.host,
                    "port": settings.port,
                    "keep_alive_timeout_s": settings.idle_seconds,
                },
                logging_config={"log_level": "ERROR", "enable_access_log": False},
            )
            deployment = ray_serve.deployment(
                ray_serve.ingress()(_Replica),
                name=_APP,
                num_replicas=replicas,
                ray_actor_options={"num_cpus": threads},
                max_ongoing_requests=settings.connections,
                health_check_period_s=2,
                graceful_shutdown_timeout_s=_DRAIN,
            )
            ray_serve.run(
                deployment.bind(anywhere, settings, keys, threads), name=_APP, route_prefix="/"
            )
            print(
                f"gpt1 serves {', '.join(names)} at http://{settings.host}:{settings.port}, "
                f"{replicas} replica{'s' * (replicas != 1)}",
                flush=True,
            )
            ended.wait()
            # A shutdown ends the proxy, and with it every stream: first let the replicas finish.
            ray_serve.delete(_APP, _blocking=False)
            while _APP in ray_serve.status().applications:
                time.sleep(0.1)
        except RuntimeError as error:  # Ray has printed the replica's own error
            raise GPT1Error(f"the replicas did not start: {first_line(error)}") from error
        finally:
            ray_serve.shutdown()


class _Replica:
    """What one process of Ray's serves."""

    def __init__(
        self, models: Sequence[str], settings: ServeConfig, keys: Keys, threads: int
    ) -> None:
        self._models, self._settings, self._keys = models, settings, keys
        torch.set_num_threads(threads)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app: Ray calls this in the replica's process."""
        self._app = create_app(load(self._models, self._settings), self._settings, self._keys)
        return self._app

    def check_health(self) -> None:
        """Raise GPT1Error if the model thread has ended: then Ray starts a new replica."""
        if not self._app.state.service.scheduler.is_alive:
            raise GPT1Error("the model thread has ended.")
