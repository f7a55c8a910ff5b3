"""What is served, and how it does: models, health, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gpt1.serving.models import Served
from gpt1.serving.protocol import Refusal
from gpt1.serving.protocol.inside import ModelCard, ModelList
from gpt1.serving.routes import ServiceOf

router = APIRouter()


@router.get("/v1/models")
async def models(service: ServiceOf) -> ModelList:
    """List the models."""
    return ModelList(data=[_card(model) for model in service.models])


@router.get("/v1/models/{model:path}")
async def model(model: str, service: ServiceOf) -> ModelCard:
    """Describe a model."""
    return _card(service.find(model))


@router.get("/health/live")
async def live(service: ServiceOf) -> dict[str, str]:
    """Tell whether the process works; 503 means that it must be started again."""
    if not service.scheduler.is_alive:
        raise Refusal(503, "the model thread has ended", code="model_stopped")
    return {"status": "live"}


@router.get("/health/ready")
async def ready(service: ServiceOf) -> dict[str, str]:
    """Tell whether new requests are taken."""
    if service.scheduler.draining:
        raise Refusal(503, "the server is about to stop.", code="draining")
    await live(service)
    return {"status": "ready"}


@router.get("/metrics", include_in_schema=False)
async def metrics(service: ServiceOf) -> Response:
    """Return the counters in Prometheus' format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _card(served: Served) -> ModelCard:
    return ModelCard(
        id=served.name,
        created=served.created,
        task=served.predictor and served.predictor.task.kind,
        config=served.gpt.config.model_dump(),
        parameters=served.gpt.num_parameters(),
    )
