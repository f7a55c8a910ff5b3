"""Vectors, models, and what the model makes of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from gpt1.serving.protocol import Body, Ids, Prompts, Text, Usage


class EmbeddingRequest(Body):
    """Texts, or their ids, to turn into vectors."""

    input: Prompts
    encoding_format: Literal["float", "base64"] = "float"
    """base64: little-endian float32."""
    pool: Literal["mean", "last", "extract"] = "mean"
    """The mean over a text's tokens, its last one, or the extract token of a fine-tuned model."""
    layer: int = -1
    """0 is the embeddings, -1 the last block."""


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """A vector for each text."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


class ModelCard(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "gpt1"
    task: str | None = None
    """The kind of task that it was fine-tuned on."""
    config: Mapping[str, Any]
    parameters: int


class ModelList(BaseModel):
    """The models that are served."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


Pair = Annotated[list[int], Field(min_length=2, max_length=2)]


class TokenizeRequest(Body):
    """A text to split."""

    text: str


class NextTokensRequest(Body):
    """A text, or its ids, to predict the next token of."""

    prompt: Text | Ids
    k: int = Field(10, ge=1, le=1000)
    logits: bool = False
    """Return the logits of the whole vocabulary too."""


class ScoreRequest(Body):
    """Texts to score."""

    input: Text | Annotated[list[Text], Field(min_length=1)]


class ExplainRequest(Body):
    """A text, or its ids, to look into."""

    text: Text | None = None
    ids: Ids | None = None
    attention: Literal["all"] | list[Pair] = Field([])
    """Pairs of a layer and a head of it, both from 0, or all of them."""
    lens: int = Field(0, ge=0, le=100)
    """How many tokens to name for each layer and position."""
    alternatives: int = Field(10, ge=0, le=1000)
    """How many tokens to name in the place of each."""

    @model_validator(mode="after")
    def _either(self) -> ExplainRequest:
        if (self.text is None) == (self.ids is None):
            raise ValueError("text or ids must be given, one of them")
        return self


class ClassifyRequest(Body):
    """Examples for a model that was fine-tuned on a task.

    Each is a text, the list of its texts, or an object with the columns of the task's table.
    """

    input: Annotated[list[str | list[str] | dict[str, Any]], Field(min_length=1)]


class TokenOfText(BaseModel):
    """A token, and where in the clean text it stands."""

    id: int
    text: str
    """A blank at its end is the end of a word."""
    bytes: list[int]
    start: int
    end: int


class Word(BaseModel):
    """A word, and the merges (left, right, rank) that make its tokens."""

    text: str
    merges: list[tuple[str, str, int]]
    tokens: list[str]


class Tokens(BaseModel):
    """A text as the model reads it."""

    clean: str
    tokens: list[TokenOfText]
    words: list[Word]


class Candidate(BaseModel):
    """A token that may stand at a place; its probability is at temperature 1."""

    id: int
    text: str
    probability: float
    logit: float


class NextTokens(BaseModel):
    """The likeliest next tokens."""

    ids: list[int]
    next: list[Candidate]
    logits: list[float] | None = None


class TextScore(BaseModel):
    """How likely a text is: the mean loss, and the log-probability of each id but the first."""

    loss: float
    perplexity: float
    ids: list[int]
    logprobs: list[float]


class Scores(BaseModel):
    """A score for each text."""

    data: list[TextScore]
    usage: Usage


class Position(BaseModel):
    """A token of the text: its log-probability, its rank, and the likeliest in its place."""

    id: int
    text: str
    logprob: float | None
    rank: int | None
    alternatives: list[Candidate]


class Explanation(BaseModel):
    """What the model makes of a text of T tokens.

    lens: [layer][position], of the embeddings (0) and of each block's output. attention: (T, T) for
    "layer.head", a row for each query.
    """

    ids: list[int]
    tokens: list[str]
    positions: list[Position]
    next: list[Candidate]
    lens: list[list[list[Candidate]]]
    attention: dict[str, list[list[float]]]
    logits_shape: tuple[int, int, int]


class InputSequence(BaseModel):
    """A sequence that the model reads of an example (the paper's figure 1)."""

    tokens: list[str]
    kinds: list[Literal["start", "text", "delimiter", "extract"]]


class Classified(BaseModel):
    """An example's answer: `prediction`, and the fields that gpt1 predict writes."""

    prediction: Any
    probabilities: dict[str, float] | None = None
    tokens: list[str] | None = None
    spans: list[dict[str, Any]] | None = None
    sequences: list[InputSequence]
    truncated: bool


class Classification(BaseModel):
    """The answer for each example."""

    task: str
    model: str
    data: list[Classified]
