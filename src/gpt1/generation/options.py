"""The settings of sampling as keywords of `GPT1.generate` and `GPT1.stream`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Literal, TypedDict, TypeVar, cast, get_type_hints

from gpt1.config import SamplingConfig
from gpt1.errors import did_you_mean


class SamplingOptions(TypedDict, total=False):
    """The keywords of GPT1.generate and stream: the fields of SamplingConfig."""

    max_new_tokens: int
    max_length: int | None
    temperature: float
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    logit_bias: Mapping[str | int, float]
    bad_words: Sequence[str]
    choices: Sequence[str]
    regex: str | None
    force_words: Sequence[str]
    num_beams: int
    num_beam_groups: int
    diversity_penalty: float
    length_penalty: float
    early_stopping: Literal[True, False, "never"]
    penalty_alpha: float | None
    prompt_lookup_num_tokens: int | None
    num_assistant_tokens: int
    best_of: int
    num_return_sequences: int
    alternatives: int
    seed: int | None
    stop: str | Sequence[str] | None
    overflow: Literal["stop", "slide"]
    truecase: bool


F = TypeVar("F", bound=Callable[..., Any])


def named_options(method: F) -> F:
    """Name the keywords of a method that takes `**sampling` in its signature, and check them.

    So `help` and notebooks show every setting with its default; type checkers and editors read
    `SamplingOptions`.
    """
    signature = inspect.signature(method)
    options = get_type_hints(SamplingOptions)
    named = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=field.default, annotation=options[name])
        for name, field in SamplingConfig.model_fields.items()
    ]
    others = [p for p in signature.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    whole = signature.replace(parameters=[*others, *named])

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in whole.parameters:
                hint = did_you_mean(name, [*whole.parameters])
                raise TypeError(f"{method.__name__}() has no parameter {name!r}.{hint}")
        return method(*args, **kwargs)

    checked.__signature__ = whole  # type: ignore[attr-defined]
    return cast(F, checked)
