"""The app: endpoints, errors in OpenAI's shape, and the studio's files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from gpt1._version import __version__
from gpt1.config import ServeConfig
from gpt1.errors import ContextError, GPT1Error, UsageError
from gpt1.serving.limits import Guard, Keys, answer
from gpt1.serving.metrics import Metrics
from gpt1.serving.models import Served
from gpt1.serving.protocol import FAILED, ErrorAnswer, Refusal
from gpt1.serving.protocol.completions import UNSUPPORTED
from gpt1.serving.routes import Service, completions, inside, status, tasks
from gpt1.serving.scheduler import Scheduler

STATIC = Path(__file__).parent / "static"
_SHOWN = 60  # characters of a wrong value in a message


def create_app(models: Sequence[Served], settings: ServeConfig, keys: Keys) -> FastAPI:
    """Return the ASGI app of some models; it runs their thread from its start to its end.

    `app.state.service` is what the endpoints use.
    """
    metrics = Metrics()
    scheduler = Scheduler(models, settings.queue, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scheduler.start()
        yield
        await scheduler.stop()

    app = FastAPI(
        title="gpt1",
        version=__version__,
        description="GPT-1 over HTTP: completions as in OpenAI's interface, and the model's inside",
        lifespan=lifespan,
        docs_url=None,  # its page is not served from here
        redoc_url=None,
        responses={"4XX": {"model": ErrorAnswer}, "5XX": {"model": ErrorAnswer}},
        exception_handlers=cast(
            Any,
            {
                Refusal: _refused,
                GPT1Error: _gpt1_error,
                RequestValidationError: _invalid,
                HTTPException: _http_error,
                Exception: _unexpected,
            },
        ),
    )
    app.state.service = Service(models, settings, scheduler, metrics)
    for routes in (completions, inside, tasks, status):
        app.include_router(routes.router)
    if STATIC.is_dir():
        app.mount("/", StaticFiles(directory=STATIC, html=True), name="studio")
    app.add_middleware(cast(Any, Guard), keys=keys, settings=settings, metrics=metrics)
    return app


async def _refused(request: Request, refusal: Refusal) -> Response:
    return answer(refusal)


async def _gpt1_error(request: Request, error: GPT1Error) -> Response:
    code = "context_length_exceeded" if isinstance(error, ContextError) else None
    return answer(Refusal(400 if isinstance(error, UsageError) else 500, str(error), code=code))


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    faults = error.errors()
    first = faults[0]
    place = [str(part) for part in first["loc"][1:]]
    if first["type"] == "json_invalid":
        return answer(Refusal(400, f"the body is not JSON: {first['ctx']['error']}."))
    if first["type"] == "value_error":
        return answer(Refusal(400, f"{first['ctx']['error']}.", param=place[0] if place else None))
    if not place:
        return answer(Refusal(400, "the body must be a JSON object."))
    name = place[0]
    if first["type"] == "extra_forbidden":
        why = UNSUPPORTED.get(place[-1], "there is no such field")
        return answer(
            Refusal(400, f"{'.'.join(place)[:_SHOWN]} is not supported: {why}.", param=name)
        )
    if first["type"] == "missing":
        return answer(Refusal(400, f"{name} is missing.", param=name))
    own = [fault for fault in faults if str(fault["loc"][1]) == name]
    expected = dict.fromkeys(fault["msg"].removeprefix("Input ") for fault in own)
    where = ".".join(place) if len(own) == 1 else name
    value = repr(first["input"])[:_SHOWN]
    return answer(
        Refusal(400, f"{where[:_SHOWN]} is {value}; it {', or '.join(expected)}.", param=name)
    )


async def _http_error(request: Request, error: HTTPException) -> Response:
    said = error.detail or HTTPStatus(error.status_code).phrase
    if error.status_code in (404, 405):
        said = f"there is no {request.method} {request.url.path[:_SHOWN]}"
        if request.url.path == "/v1/chat/completions":
            said += "; GPT-1 was not trained to chat: POST /v1/completions continues a text"
    refusal = Refusal(error.status_code, f"{said}.")
    refusal.headers |= dict(error.headers or {})
    return answer(refusal)


async def _unexpected(request: Request, error: Exception) -> Response:
    return answer(Refusal(500, FAILED, code="internal_error"))
