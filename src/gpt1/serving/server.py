"""uvicorn, with deadlines and an end that loses no answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address
from socket import socket
from types import FrameType
from typing import Any, cast

import uvicorn

from gpt1.config import ServeConfig
from gpt1.errors import ConfigError
from gpt1.serving.app import create_app
from gpt1.serving.limits import KEYS, DeadlineProtocol, Keys
from gpt1.serving.models import Served

HEAD = 16 << 10
"""The bytes that a request's head may have."""


LINGER = 30
"""Seconds that a server without its model thread goes on, so that health checks see it."""


class Server(uvicorn.Server):
    """A server that answers every accepted request before it ends; a second signal ends it."""

    def __init__(self, models: Sequence[Served], settings: ServeConfig, keys: Keys) -> None:
        self.app = create_app(models, settings, keys)
        config = uvicorn.Config(
            self.app,
            host=settings.host,
            port=settings.port,
            http=cast(Any, partial(DeadlineProtocol, settings=settings)),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.idle_seconds,
            h11_max_incomplete_event_size=HEAD,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        self._alive_at = time.monotonic()
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        names = ", ".join(model.name for model in self.app.state.service.models)
        print(f"gpt1 serves {names} at http://{host}:{port}", flush=True)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Answer what was accepted, then stop listening."""
        await self.app.state.service.scheduler.drain()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Tell whether to end: when asked to, or some time after the model thread has ended."""
        if self.app.state.service.scheduler.is_alive:
            self._alive_at = time.monotonic()
        elif time.monotonic() - self._alive_at > LINGER:
            return True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; end at once if that was asked before."""
        if self.should_exit:
            os._exit(128 + sig)
        self.app.state.service.scheduler.draining = True
        self.should_exit = True


def check_host(host: str, keys: Keys) -> None:
    """Raise ConfigError for an address that others can reach, unless there is a key."""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local and not len(keys):
        raise ConfigError(
            f"--host is {host}, which others can reach; that needs a key. Write one into a file "
            f"for --key-file, or into {KEYS}."
        )
