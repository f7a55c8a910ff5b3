"""`gpt1 serve`, which also tells what it holds (SIGUSR1) and breaks its model (SIGUSR2)."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys

from gpt1.__main__ import main
from gpt1.serving.server import Server

_server: list[Server] = []


class Watched(Server):
    async def startup(self, sockets: object = None) -> None:
        _server.append(self)
        self.loop = asyncio.get_running_loop()
        await super().startup()


def tell(*_: object) -> None:
    """Print a line of JSON: what is there of everything that a request may leave behind."""
    server = _server[0]
    scheduler = server.app.state.service.scheduler
    gc.collect()
    found = {
        "tasks": len(asyncio.all_tasks(server.loop)),
        "requests": len(scheduler._tickets),
        "waiting": scheduler._waiting,
        "calls": len(scheduler._calls),
        "rows": sum(map(len, scheduler._rows.values())),
        "engine": sum(len(model.engine) for model in scheduler.models),
        "connections": len(server.server_state.connections),
    }
    print(json.dumps(found), flush=True)


def break_model(*_: object) -> None:
    """Let the next step fail as a fault in the code would."""

    def step() -> None:
        raise RuntimeError("broken on purpose")

    for model in _server[0].app.state.service.models:
        model.engine.step = step


if __name__ == "__main__":
    import gpt1.serving.server

    gpt1.serving.server.Server = Watched  # type: ignore[misc]
    signal.signal(signal.SIGUSR1, tell)
    signal.signal(signal.SIGUSR2, break_model)
    sys.argv[1:1] = ["serve"]
    main()
