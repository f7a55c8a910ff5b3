"""The endpoints, and what they share: the service, and a place in the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from gpt1.config import ServeConfig
from gpt1.serving.metrics import Metrics
from gpt1.serving.models import Served
from gpt1.serving.patterns import Patterns
from gpt1.serving.protocol import Refusal
from gpt1.serving.scheduler import Scheduler, Ticket

CHARACTERS = 64
"""The most characters of a text for each position of the model."""


@dataclass(frozen=True)
class Service:
    """What the endpoints need."""

    models: Sequence[Served]
    settings: ServeConfig
    scheduler: Scheduler
    metrics: Metrics
    patterns: Patterns = field(default_factory=Patterns)

    def find(self, name: str | None) -> Served:
        """Return a model by its name, the first one for None. Raises Refusal."""
        for model in self.models:
            if name in (None, model.name):
                return model
        known = ", ".join(model.name for model in self.models)
        raise Refusal(
            404,
            f"there is no model {name!r}; this server has {known}.",
            param="model",
            code="model_not_found",
        )

    def check_inputs(self, served: Served, inputs: Sequence[object], param: str) -> None:
        """Raise Refusal for too many inputs, or a text that no window can hold."""
        most = self.settings.max_inputs
        if len(inputs) > most:
            raise Refusal(400, f"{param} has {len(inputs):,} items; at most {most:,}.", param=param)
        longest = CHARACTERS * served.gpt.config.n_ctx
        for text in inputs:
            if isinstance(text, str) and len(text) > longest:
                raise Refusal(
                    400,
                    f"{param} has {len(text):,} characters; the model reads "
                    f"{served.gpt.config.n_ctx:,} tokens, and the server at most {longest:,} "
                    f"characters. Shorten the text.",
                    param=param,
                    code="context_length_exceeded",
                )


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service)]


async def _admit(service: ServiceOf) -> AsyncIterator[Ticket]:
    ticket = service.scheduler.admit()
    try:
        yield ticket
    finally:
        service.scheduler.close(ticket)


Admitted = Annotated[Ticket, Depends(_admit)]
