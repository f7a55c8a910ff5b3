"""A run goes on only as what it was: what differs and is not free to change is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gpt1
from gpt1.config import RunConfig
from gpt1.errors import TrainingError
from gpt1.text.tokenizer import Tokenizer
from gpt1.training.resume import FREE_SETTINGS
from gpt1.training.run import Run

FINGERPRINTS = {"data": "a" * 64, "validation": "b" * 64}
FIELDS = [
    (section, name)
    for section, kind in RunConfig.model_fields.items()
    for name in kind.annotation.model_fields  # type: ignore[union-attr]
]


def other(value: Any) -> Any:
    """Return a value that differs from `value`, whatever it is."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return "another" if value != "another" else "one"


def changed(section: str, name: str) -> RunConfig:
    config = RunConfig()
    part = getattr(config, section)
    part = part.model_copy(update={name: other(getattr(part, name))})
    return config.model_copy(update={section: part})


@pytest.fixture
def begun(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A run of the default settings that has just been started."""
    with Run(tmp_path / "run", RunConfig(), tokenizer, FINGERPRINTS):
        pass
    return tmp_path / "run"


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # a value of no allowed kind
@pytest.mark.parametrize(("section", "name"), FIELDS, ids=[".".join(field) for field in FIELDS])
def test_a_setting_that_differs_is_named_unless_it_is_free(
    begun: Path, tokenizer: Tokenizer, section: str, name: str
) -> None:
    again = Run(begun, changed(section, name), tokenizer, FINGERPRINTS, resume=True)
    if (section, name) in FREE_SETTINGS:
        with again:
            pass
        return
    with pytest.raises(TrainingError, match=rf"{section}\.{name} was .* and is "), again:
        pass


def test_what_is_free_does_not_change_what_is_learned() -> None:
    assert set(FIELDS) >= FREE_SETTINGS
    assert {
        name for section, name in FREE_SETTINGS if section in ("model", "optimizer", "data")
    } == set()


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_other_text_is_named(begun: Path, tokenizer: Tokenizer, name: str) -> None:
    fingerprints = {**FINGERPRINTS, name: "c" * 64}
    again = Run(begun, RunConfig(), tokenizer, fingerprints, resume=True)
    with pytest.raises(TrainingError, match=f"the {name} is another one"), again:
        pass


def test_another_vocabulary_is_named(begun: Path) -> None:
    another = gpt1.Tokenizer.train(["other words, other words"], vocab_size=25)
    again = Run(begun, RunConfig(), another, FINGERPRINTS, resume=True)
    with pytest.raises(TrainingError, match="the tokenizer is another one"), again:
        pass


def test_all_differences_are_listed_at_once(begun: Path, tokenizer: Tokenizer) -> None:
    config = RunConfig.model_validate({"train": {"seed": 5, "batch_size": 3}})
    again = Run(begun, config, tokenizer, {**FINGERPRINTS, "data": "x"}, resume=True)
    said = "train.batch_size was 64 and is 3; train.seed was 0 and is 5; the data is another one"
    with pytest.raises(TrainingError, match=said), again:
        pass
