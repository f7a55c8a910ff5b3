"""Which settings of a run may change when it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpt1.config import RunConfig
from gpt1.training import schedules

FREE_SETTINGS = {
    *(("train", name) for name in ("save_every", "keep_checkpoints", "log_every", "device")),
    *(("train", name) for name in ("snapshots", "compile", "tensorboard")),
    ("distributed", "strategy"),
}
"""(section, field) of settings that do not change what is learned."""
LENGTH_SETTINGS = {("train", "steps"), ("schedule", "decay_share")}
"""May change as well under warmup_stable_decay, if the updates made so far keep their rates."""


def find_differences(before: Mapping[str, Any], now: Mapping[str, Any], done: int) -> list[str]:
    """Return what keeps a run from being resumed, a phrase for each difference.

    `before` and `now` are contents of run.json; `done` is the number of updates made. Raises
    KeyError, TypeError, ValueError or AttributeError if `before` is damaged.
    """
    old, new = before["config"], now["config"]
    free = FREE_SETTINGS | (LENGTH_SETTINGS if _same_rates(old, new, done) else set())
    settings = [
        f"{section}.{name} was {value!r} and is {new.get(section, {}).get(name)!r}"
        for section, fields in old.items()
        for name, value in fields.items()
        if new.get(section, {}).get(name) != value and (section, name) not in free
    ]
    fingerprints = [
        f"the {name} is another one"
        for name, value in now["fingerprints"].items()
        if before["fingerprints"].get(name) != value
    ]
    return settings + fingerprints


def _same_rates(before: Mapping[str, Any], now: Mapping[str, Any], done: int) -> bool:
    """Tell whether the first `done` updates have the same rates in a run of another length."""
    if now["schedule"]["name"] != "warmup_stable_decay":
        return False
    old, new = RunConfig.model_validate(before), RunConfig.model_validate(now)
    if not old.train.steps or not new.train.steps or new.train.steps < done:
        return False
    return schedules.same_start(old.schedule, old.train.steps, new.schedule, new.train.steps, done)
