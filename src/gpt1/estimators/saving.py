"""A fitted estimator as JSON values, the section `estimator` of gpt1.json, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt1.config import RunConfig
from gpt1.estimators.rows import FEATURES, item
from gpt1.pipeline import GPT1
from gpt1.tasks.kinds import Task
from gpt1.tasks.spec import label_name
from gpt1.training.resume import command_record

FITTED = ("seed_", "n_cut_", "conflicts_", "history_", *FEATURES)
"""Attributes that are saved with an estimator."""
SETTINGS = {
    "epochs": "train.epochs",
    "learning_rate": "optimizer.lr",
    "batch_size": "train.batch_size",
    "lm_coef": "task.lm_coef",
    "class_weight": "task.class_weight",
    "n_iter_no_change": "train.patience",
    "random_state": "train.seed",
    "device": "train.device",
}
"""Parameters and the settings of a run that they stand for."""


def to_json(estimator: Any) -> dict[str, Any]:
    """Return parameters and fitted attributes as JSON values."""
    saved = {"params": _params(estimator), "fitted": {}}
    for name in FITTED:
        if (value := getattr(estimator, name, None)) is not None:
            saved["fitted"][name] = value.tolist() if isinstance(value, np.ndarray) else value
    if hasattr(estimator, "classes_"):
        classes = estimator.classes_
        saved |= {"classes": classes.tolist(), "dtype": classes.dtype.str}
    return saved


def call_record(estimator: Any, config: RunConfig) -> dict[str, Any]:
    """Return a call of `fit` for run.json: the recipe, and the settings that the user gave."""
    values = config.model_dump(mode="json")
    given: dict[str, dict[str, Any]] = {}
    for name, setting in SETTINGS.items():
        if getattr(estimator, name, None) not in (None, "auto"):
            section, field = setting.split(".")
            given.setdefault(section, {})[field] = values[section][field]
    arguments = {"recipe": estimator.recipe, "config": given, "set_": list(estimator.settings)}
    return command_record(f"{type(estimator).__name__}.fit", arguments)


def _params(estimator: Any) -> dict[str, Any]:
    params = {
        name: str(value) if isinstance(value, Path) else item(value)
        for name, value in estimator.get_params(deep=False).items()
    }
    params["settings"] = list(estimator.settings)
    if isinstance(estimator.model, GPT1):
        params["model"] = None
    if not isinstance(params["random_state"], int | None):
        params["random_state"] = estimator.seed_
    if isinstance(weights := params.get("class_weight"), Mapping):  # labels may be numbers
        params["class_weight"] = [[item(name), item(w)] for name, w in weights.items()]
    return params


def read_params(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that `to_json` wrote. Raises KeyError, TypeError or ValueError."""
    params = {**saved["params"], "settings": tuple(saved["params"]["settings"])}
    if isinstance(params.get("class_weight"), list):
        params["class_weight"] = dict(map(tuple, params["class_weight"]))
    return params


def read_fitted(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fitted attributes that `to_json` wrote, without `classes_`."""
    fitted = {name: value for name, value in saved["fitted"].items() if name in FITTED}
    if names := fitted.get("feature_names_in_"):
        fitted["feature_names_in_"] = np.array(names, object)
    return fitted


def read_classes(task: Task, saved: Mapping[str, Any]) -> NDArray[Any] | None:
    """Return `classes_` as `to_json` wrote it. Raises KeyError, TypeError or ValueError."""
    if not task.label_names:
        return None
    classes = np.array(saved["classes"], np.dtype(saved["dtype"]))
    if tuple(map(label_name, classes.tolist())) != task.label_names:
        raise ValueError("the classes are not the task's")
    return classes
