"""The models that a server holds, each with its engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gpt1 import pipeline
from gpt1.checkpoint import hub
from gpt1.config import SamplingConfig, ServeConfig
from gpt1.errors import ConfigError
from gpt1.generation.engine import Engine
from gpt1.pipeline import GPT1
from gpt1.tasks.kinds import task_from_json
from gpt1.tasks.predictor import Predictor


@dataclass(eq=False)
class Served:
    """A model under its name. Only the model thread may use it, but for names and sizes."""

    name: str
    gpt: GPT1
    engine: Engine
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def of(cls, name: str, gpt: GPT1, slots: int) -> Served:
        """Return a model ready to generate. Raises InputError for the LSTM baseline."""
        served = cls(name, gpt, Engine(gpt.backend(), gpt.tokenizer, slots=slots))
        served.engine.submit([0], SamplingConfig(max_new_tokens=2))  # the first step is slow
        while len(served.engine):
            for event in served.engine.step():
                if event.error:
                    raise event.error
        gpt.tokenizer.encode("Once upon a time")  # and so is the first text
        return served

    @cached_property
    def predictor(self) -> Predictor | None:
        """What the model was fine-tuned on, if it was."""
        task = self.gpt.metadata.get("task")
        model = self.gpt.transformer()
        return task and Predictor(model, self.gpt.tokenizer, task_from_json(task))

    @cached_property
    def ranks(self) -> dict[tuple[str, str], int]:
        """The rank of each merge."""
        return {pair: rank for rank, pair in enumerate(self.gpt.tokenizer.vocabulary.merges)}


def load(names: Sequence[str], settings: ServeConfig) -> list[Served]:
    """Load models, each given as a model or as NAME=MODEL. Raises what `gpt1.load` does."""
    served: list[Served] = []
    for given in names:
        name, model = named(given)
        if name in [other.name for other in served]:
            raise ConfigError(
                f"two models are called {name!r}. Give one another name: NAME={model}"
            )
        gpt = pipeline.load(model, dtype=settings.dtype)
        served.append(Served.of(name, gpt, settings.slots))
    return served


def named(given: str) -> tuple[str, str]:
    """Return the name and the model of what is given as a model or as NAME=MODEL."""
    alias, equals, model = given.partition("=")
    return (alias, model) if equals else (_name(given), given)


def _name(model: str) -> str:
    """Return what a model is called: its name, or that of its folder or run."""
    if hub.is_packaged(model) or not Path(model).expanduser().exists():
        return model
    path = Path(model).expanduser().resolve()
    return path.parent.name if path.name == "model" else path.name
