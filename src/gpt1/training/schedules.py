"""Learning rate schedules by name: the release's three, linear, and warm-up, stable, decay."""

from __future__ import annotations

import math
from collections.abc import Callable

from gpt1.config import ScheduleConfig


def warmup_cosine(x: float, warmup: float) -> float:
    """Rise to 1 over the share `warmup`, then a cosine over all of the run (release, spec 3.6).

    >>> warmup_cosine(0.001, 0.002), round(warmup_cosine(0.25, 0.002), 6)
    (0.5, 0.853553)
    """
    return x / warmup if warmup and x <= warmup else 0.5 * (1 + math.cos(math.pi * x))


def warmup_constant(x: float, warmup: float) -> float:
    """Rise to 1 over the share `warmup` and stay (release, spec 3.12)."""
    return x / warmup if warmup and x <= warmup else 1.0


def warmup_linear(x: float, warmup: float) -> float:
    """Rise over the share `warmup`, and fall to 0 over all of the run (release, spec 3.12)."""
    return warmup_constant(x, warmup) * (1 - x)


_RELEASE: dict[str, Callable[[float, float], float]] = {
    "warmup_cosine": warmup_cosine,
    "warmup_linear": warmup_linear,
    "warmup_constant": warmup_constant,
}


def factor(config: ScheduleConfig, update: int, updates: int) -> float:
    """Return the factor on the learning rate for update number `update` (from 0) of `updates`.

    >>> article = ScheduleConfig(name="linear", warmup_steps=5000, warmup_share=1, total_steps=-1)
    >>> f"{3e-5 * factor(article, 489, 2447):.3g}"  # table of spec 9.8.6, first epoch
    '2.93e-06'
    """
    total = updates if config.total_steps is None else config.total_steps
    warmup = warmup_steps(config, updates)
    step = update + config.count_from
    if config.name in ("linear", "warmup_stable_decay"):
        if step < warmup:
            return step / warmup
        if config.total_steps is None:
            total += config.count_from  # the last update still has a step to make
        if config.name == "linear":
            return max(0.0, (total - step) / max(1, total - warmup))
        decay = config.decay_share * total
        decayed = max(0.0, step - (total - decay))
        return 1 - math.sqrt(min(1.0, decayed / decay)) if decayed else 1.0
    return _RELEASE[config.name](min(step / max(1, total), 1.0), warmup / max(1, total))


def warmup_steps(config: ScheduleConfig, updates: int) -> float:
    """Return the updates of the warm-up in a run of `updates`; in the release it may be 0.3."""
    share = config.warmup_share * updates
    if config.warmup_steps is None:
        return share
    return min(config.warmup_steps, share) if config.total_steps is None else config.warmup_steps


def same_start(
    config: ScheduleConfig, updates: int, other: ScheduleConfig, other_updates: int, done: int
) -> bool:
    """Tell whether two runs have the same factors in their first `done` updates."""
    return all(
        factor(config, update, updates) == factor(other, update, other_updates)
        for update in range(done)
    )
