"""The settings of generation: one table of names, bounds and descriptions."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gpt1.errors import counted
from gpt1.settings import Settings


class SamplingConfig(Settings):
    """How the next token is chosen; the defaults are greedy. Types are strict: True is not 1.

    Names and meanings are those of transformers' GenerationConfig, or of OpenAI's interface.
    """

    model_config = ConfigDict(strict=True)

    max_new_tokens: int = Field(64, ge=0, le=2**20)
    """The most new tokens."""
    max_length: int | None = Field(None, ge=1, le=2**20)
    """Limits prompt and new tokens together, as in the article; replaces max_new_tokens."""
    temperature: float = Field(0.0, ge=0, le=1e4)
    """Randomness; 0 is greedy."""
    top_k: int | None = Field(None, ge=1)
    """Sample only from the top_k likeliest tokens."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Sample only from the likeliest tokens whose probabilities reach this sum."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Sample only from tokens at least this fraction as likely as the likeliest."""
    typical_p: float | None = Field(None, gt=0, le=1)
    """Sample only from the tokens closest to the expected surprise, up to this probability."""
    repetition_penalty: float = Field(1.0, gt=0, le=1e4)
    """Above 1, makes every token of the text so far less likely (CTRL)."""
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    """Subtracted from the logit of every token generated so far."""
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    """Subtracted once for each time the token was generated."""
    no_repeat_ngram_size: int = Field(0, ge=0, le=2**20)
    """No sequence of so many tokens appears twice; 0 allows all."""
    logit_bias: dict[str | int, Annotated[float, Field(ge=-100, le=100)]] = Field({})
    """Added to the logits of tokens, each given by its id or its text."""
    bad_words: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), strict=False)
    """Words or phrases that are not written."""
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), strict=False)
    """The completion is one of these texts."""
    regex: str | None = None
    """The completion matches this regular expression (extra gpt1[regex])."""
    force_words: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), strict=False)
    """Words or phrases that the completion contains."""
    num_beams: int = Field(1, ge=1, le=1024)
    """Beam search with so many beams."""
    num_beam_groups: int = Field(1, ge=1, le=1024)
    """Beams in groups that differ from each other."""
    diversity_penalty: float = Field(0.0, ge=0, le=1e4)
    """What a group of beams loses for an id that an earlier group chose."""
    length_penalty: float = Field(1.0, ge=-10, le=10)
    """A beam's score is divided by length ** length_penalty."""
    early_stopping: Literal[True, False, "never"] = False
    """Whether beams stop at the first num_beams ends; never: only when none can be better."""
    penalty_alpha: float | None = Field(None, ge=0, le=1)
    """Contrastive search among the top_k: how much it counts that states differ."""
    prompt_lookup_num_tokens: int | None = Field(None, ge=1, le=1024)
    """Guess so many tokens from the text so far and check them at once; the text is the same."""
    num_assistant_tokens: int = Field(5, ge=1, le=1024)
    """How many tokens an assistant, a smaller model, guesses at once."""
    best_of: int = Field(1, ge=1, le=1024)
    """Sample so many texts and return those of the highest mean log-probability."""
    num_return_sequences: int = Field(1, ge=1, le=1024)
    """How many texts are returned for a prompt."""
    alternatives: int = Field(0, ge=0, le=2**20)
    """How many of the likeliest ids are reported for each new token."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """The same seed gives the same text; none draws one."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field((), strict=False)
    """The text ends before any of these."""
    overflow: Literal["stop", "slide"] = "stop"
    """At n_ctx positions: stop, or keep the last half window and continue."""
    truecase: bool = False
    """Restores capitals and spaces in the text where that is safe."""

    @field_validator("early_stopping", mode="before")
    @classmethod
    def _one_is_not_true(cls, value: Any) -> Any:
        if not isinstance(value, bool | str):  # Literal compares by ==
            raise PydanticCustomError("literal", "Input should be True, False or 'never'")
        return value

    @model_validator(mode="after")
    def _constraints_stand_alone(self) -> Self:
        names = ("choices", "regex", "force_words")
        given = [name for name in names if getattr(self, name)]
        given += ["stop"] if given and self.stop else []
        if len(given) > 1:
            raise ValueError(
                f"{' and '.join(given)} were given; a text follows one constraint, and no stop "
                f"string cuts it short. Leave out all but one."
            )
        return self

    @model_validator(mode="after")
    def _strategies_fit(self) -> Self:
        search = [f"num_beams={self.num_beams}"] * (self.num_beams > 1)
        search += ["penalty_alpha"] * (self.penalty_alpha is not None)
        draft = ["prompt_lookup_num_tokens"] * (self.prompt_lookup_num_tokens is not None)
        several = ["best_of"] * (self.best_of > 1)
        strategies = [*search, *draft, *several]
        most = self.num_beams if self.num_beams > 1 else self.best_of
        faults = {
            f"{' and '.join(strategies)} were given; use one of them": len(strategies) > 1,
            f"{''.join(search)} needs temperature=0": bool(search) and self.temperature > 0,
            "penalty_alpha needs top_k, e.g. top_k=4": "penalty_alpha" in search and not self.top_k,
            "best_of needs a temperature above 0": bool(several) and not self.temperature,
            f"num_return_sequences is {self.num_return_sequences}; this search finds "
            f"{counted(most, 'text')}. Raise num_beams or best_of, or sample":
            self.num_return_sequences > most and (most > 1 or not self.temperature),
            f"num_beams is {self.num_beams}; num_beam_groups={self.num_beam_groups} must divide it":
            self.num_beams % self.num_beam_groups > 0,
            "prompt_lookup_num_tokens goes with num_return_sequences=1": bool(draft)
            and self.num_return_sequences > 1,
            "overflow='slide' needs plain decoding": self.overflow == "slide"
            and bool(search or draft),
        }  # fmt: skip
        for message, wrong in faults.items():
            if wrong:
                raise ValueError(f"{message}.")
        return self
