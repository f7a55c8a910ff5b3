"""The names used from scikit-learn, or an error that says how to install it (gpt1[sklearn])."""

from __future__ import annotations

from gpt1.errors import GPT1Error

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
    "check_random_state",
    "clone",
    "column_or_1d",
    "validate_data",
]
