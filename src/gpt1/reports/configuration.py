"""The settings of a run beside those of its recipe, and the command that started it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from gpt1.config import ModelConfig, RunConfig, check, default_recipe, load_run
from gpt1.errors import ConfigError
from gpt1.presets import merge, parse_override
from gpt1.reports.formatting import format_setting
from gpt1.reports.history import History
from gpt1.reports.sections import Section, Table

_UNKNOWN = object()
"""A setting of another version."""
_FLAGS = {
    "steps": "train.steps",
    "epochs": "train.epochs",
    "lr": "optimizer.lr",
    "batch_size": "train.batch_size",
    "prefix": "data.prefix",
    "metric": "task.metric",
}
"""The options of commands that are settings."""
_PLACES = ("files", "data")
"""Arguments without a flag."""


def configuration(run: History) -> list[Section]:
    """Return a table for each section of the settings; what the user has changed is marked."""
    recipe, given = _recipe(run), _given(run)
    if recipe is None:
        name, values = "default", RunConfig().model_dump(mode="json")
        note = "The resolved configuration; values that differ from the defaults are marked."
    else:
        name, values = recipe
        note = (
            f"The resolved configuration beside that of the recipe {name}. What the command "
            f"or call changed is marked; other differences follow from the model, the task and the "
            f"machine."
        )
        name = "recipe"
    sections = [Section("Configuration", None, note)]
    for section, fields in run.record.config.items():
        rows, marked = [], []
        for number, (field, value) in enumerate(fields.items()):
            before = values.get(section, {}).get(field, _UNKNOWN)
            told = ""
            if value != before:
                told = "" if before is _UNKNOWN else f"{name} {format_setting(before)}"
                if recipe is None or f"{section}.{field}" in given:
                    marked.append(number)
            rows.append((field, format_setting(value), told))
        sections.append(Section(section, Table((), rows, "settings", marked), narrow=True))
    return sections


def command_line(run: History) -> str:
    """Return the command that started a run, "" if none did; a .toml is told by its settings."""
    if run.record.command is None or "." in str(run.record.command.get("name")):  # a method
        return ""
    words = ["gpt1", str(run.record.command.get("name"))]
    for name, value in _arguments(run).items():
        values = value if isinstance(value, list) else [value]
        if name in _PLACES:
            words += map(str, values)
        elif isinstance(value, Mapping):
            for setting, each in _flat(value):
                words += ["--set", f"{setting}={format_setting(each)}"]
        elif isinstance(value, bool):
            off = "--document" if name == "lines" else f"--no-{name}"
            words += [f"--{name.replace('_', '-')}"] if value else [off] * (name in _TWOFOLD)
        elif value is not None:
            for each in values:
                words += [f"--{name.strip('_').replace('_', '-')}", str(each)]
    return shlex.join([*words, "--out", run.path.name])


_TWOFOLD = ("header", "lines")
"""Flags that have an opposite."""


def _arguments(run: History) -> Mapping[str, Any]:
    arguments = (run.record.command or {}).get("arguments")
    return arguments if isinstance(arguments, Mapping) else {}


def _recipe(run: History) -> tuple[str, dict[str, Any]] | None:
    """Return the recipe's name and its settings; None where no command says which it was."""
    arguments, config = _arguments(run), run.record.config
    if not arguments:
        return None
    try:
        kind = "pretrain" if "size" in arguments else config["task"]["kind"]
        model = check(ModelConfig, config["model"])
        recipe = arguments.get("recipe") or default_recipe(kind, model)
        values = load_run(size=arguments.get("size"), recipe=recipe).model_dump(mode="json")
    except (ConfigError, KeyError, TypeError):  # a run of another version
        return None
    if "size" not in arguments:
        values["model"] = config["model"]  # that of the model trained further
    return (recipe if isinstance(recipe, str) else "given as a file"), values


def _given(run: History) -> set[str]:
    """Return the settings that the command changes."""
    arguments = _arguments(run)
    given = {setting for flag, setting in _FLAGS.items() if arguments.get(flag) is not None}
    config = arguments.get("config")
    try:
        overrides = merge(map(parse_override, arguments.get("set_") or ()))
    except (ConfigError, TypeError, AttributeError):
        overrides = {}
    for source in (config, overrides):
        if isinstance(source, Mapping):
            given |= {name for name, _ in _flat(source)}
    return given


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, fields in settings.items():
        for name, value in fields.items() if isinstance(fields, Mapping) else ():
            yield f"{section}.{name}", value
