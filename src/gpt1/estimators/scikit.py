"""The names used from scikit-learn, or an error that says how to install it (gpt1[sklearn])."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from gpt1.data.rows import short
from gpt1.errors import ConfigError, GPT1Error

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:

    class MissingExtra(GPT1Error, ImportError):
        """A library of an extra is not installed."""

    raise MissingExtra(
        'the estimators need scikit-learn, which is not installed. Run: pip install "gpt1[sklearn]"'
    ) from error

__all__ = [
    "BaseEstimator",
    "ClassifierMixin",
    "RegressorMixin",
    "check_is_fitted",
    "clone",
    "column_or_1d",
    "draw_seed",
    "validate_data",
]


def draw_seed(random_state: Any) -> int:
    """Return the seed of a run: an int as it is, or one that is drawn. Raises ConfigError."""
    if random_state is None:  # from the system, so that no generator of the user's moves
        random_state = np.random.default_rng()
    if isinstance(random_state, numbers.Integral) and not isinstance(random_state, bool):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError:
        raise ConfigError(
            f"random_state is {short(random_state)}; it must be None, a whole number from 0, a "
            f"RandomState or a Generator of numpy."
        ) from None
