"""Completions: the sampling fields are those of SamplingConfig, with its bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model, field_validator, model_validator

from gpt1.config import SamplingConfig, check
from gpt1.errors import ConfigError
from gpt1.serving.protocol import Body, Prompts, Refusal, Strict, Text, Usage

RENAMED = {"max_tokens": "max_new_tokens", "n": "num_return_sequences"}
"""Fields of SamplingConfig that OpenAI calls otherwise."""
SHARED = (
    *("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty", "no_repeat_ngram_size", "logit_bias", "bad_words"),
    *("choices", "regex", "force_words", "best_of", "seed", "stop", "overflow", "truecase"),
)
"""Fields of SamplingConfig that have the same name here."""
FIELDS = {**RENAMED, **{name: name for name in SHARED}}
"""A sampling field of a request -> that of SamplingConfig."""
DEFAULTS = {"max_tokens": 16, "temperature": 1.0}
"""OpenAI's defaults, where they differ from ours."""
UNSUPPORTED = {
    "suffix": "GPT-1 reads from left to right, and cannot fill a gap",
    "dimensions": "a vector has as many numbers as the model's states",
    **{
        name: "the server writes each text id by id; use GPT1.generate"
        for name in SamplingConfig.model_fields
        if name not in FIELDS.values()
    },
    **{own: f"it is called {name} here" for name, own in RENAMED.items()},
    "alternatives": "it is called logprobs here",
}
"""Fields that people may expect -> why there is none."""
MOST_LOGPROBS = 100


class StreamOptions(Strict):
    """Options of a stream."""

    include_usage: bool = False
    """Whether a last event, without choices, counts the tokens."""


class Completions(Body):
    """The fields of a completion that are no settings of sampling."""

    prompt: Prompts
    """A text, its ids, or a list of either."""
    stream: bool = False
    """Send the text as it is written, as server-sent events."""
    stream_options: StreamOptions | None = None
    """Only with stream."""
    echo: bool = False
    """Begin with the prompt, as the tokenizer reads it."""
    logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)
    """Report the log-probability of each token, and of so many likeliest ones."""

    @field_validator("logit_bias", mode="before", check_fields=False)
    @classmethod
    def _keys_of_digits_are_ids(cls, bias: Any) -> Any:
        """JSON's keys are texts; one of digits is an id, as in OpenAI's interface."""
        if not isinstance(bias, dict):
            return bias
        is_id = {key: key.isascii() and key.isdigit() and len(key) < 20 for key in bias}
        return {int(key) if is_id[key] else key: value for key, value in bias.items()}

    @field_validator("stop", mode="after", check_fields=False)
    @classmethod
    def _stop_is_a_list(cls, stop: Any) -> Any:
        return (stop,) if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def _stream_fits(self) -> Completions:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for stream=true")
        return self

    def sampling(self) -> SamplingConfig:
        """Return the settings of the engine. Raises Refusal if they do not fit each other."""
        values: dict[str, Any] = {own: getattr(self, name) for name, own in FIELDS.items()}
        values["alternatives"] = self.logprobs or 0
        try:
            return check(SamplingConfig, values)
        except ConfigError as error:
            message = str(error)
            for name, own in RENAMED.items():
                message = message.replace(own, name)
            named = [name for name in FIELDS if message.startswith(name)]
            raise Refusal(400, message, param=max(named, key=len, default=None)) from None


def _sampling_fields() -> dict[str, Any]:
    """Return SamplingConfig's fields by their names here, for `create_model`."""
    fields: dict[str, Any] = {}
    for name, own in FIELDS.items():
        field = SamplingConfig.model_fields[own]
        kind: Any = field.annotation
        for bound in field.metadata:
            kind = Annotated[kind, bound]
        if name == "stop":
            kind = Text | kind
        default = DEFAULTS.get(name, field.default)
        fields[name] = (kind, Field(default, description=field.description))
    return fields


if TYPE_CHECKING:
    CompletionRequest = Completions
else:
    CompletionRequest = create_model(
        "CompletionRequest",
        __base__=Completions,
        __doc__="A prompt, and how it goes on.",
        **_sampling_fields(),
    )


class Logprobs(BaseModel):
    """The tokens of a text, one item each; a blank at a token's end is the end of a word.

    text_offset: where in the choice's text what the token adds begins.
    """

    tokens: list[str] = []
    token_ids: list[int] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] = []
    top_ids: list[list[int]] = []
    """The ids of top_logprobs, in its order."""
    text_offset: list[int] = []


class Choice(BaseModel):
    """One of the texts."""

    index: int
    text: str
    logprobs: Logprobs | None = None
    finish_reason: Literal["stop", "length"] | None = None


class Completion(BaseModel):
    """An answer, or an event of one."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    seed: int
    """What the random numbers began with: `seed`, or one that was drawn."""
    choices: list[Choice]
    usage: Usage | None = None
