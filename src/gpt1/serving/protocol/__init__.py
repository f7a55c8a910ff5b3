"""Every request and answer as pydantic models: what they share, and errors. No I/O."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Text = Annotated[str, Field(min_length=1)]
Ids = Annotated[list[int], Field(min_length=1)]
Prompt = Text | Ids | Annotated[list[Text], Field(min_length=1)]
Prompts = Prompt | Annotated[list[Ids], Field(min_length=1)]


FAILED = "the server failed; its log says why."


class Refusal(Exception):
    """A request that is answered by an error, in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
        clean = message.encode("utf-8", "replace").decode()  # half a surrogate pair is no UTF-8
        name = param and param.encode("utf-8", "replace").decode()
        self.answer = ErrorAnswer(error=Fault(message=clean, type=kind, param=name, code=code))


class Fault(BaseModel):
    """What went wrong, and which field is to blame."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """Every answer that is no success."""

    error: Fault


class Strict(BaseModel):
    """What a client sends: no unknown fields, strict types; null means not given."""

    model_config = ConfigDict(
        extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class Body(Strict):
    """Base of all requests."""

    model: str | None = None
    """One of those that /v1/models lists; the first one if it is not given."""


class Usage(BaseModel):
    """How many tokens were read and written."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int
