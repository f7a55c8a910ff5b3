"""Where settings come from: presets, .toml files and overrides, as plain dictionaries."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from gpt1.errors import ConfigError, did_you_mean


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def merge(sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge settings into one dictionary; later values win."""
    merged: dict[str, Any] = {}
    for source in sources:
        for key, value in source.items():
            if isinstance(value, Mapping) and isinstance(merged.get(key, {}), dict):
                merged[key] = merge([merged.get(key, {}), value])
            else:
                merged[key] = None if value == "none" else value  # TOML has no null
    return merged


def read_preset(
    name: str | Mapping[str, Any], kind: Literal["size", "recipe"]
) -> Mapping[str, Any]:
    """Read a preset by name, or any .toml file; settings by section are returned as they are.

    A preset that sets model.vocab_size is a size, any other a recipe. Raises ConfigError.
    """
    if isinstance(name, Mapping):
        return name
    if name.endswith(".toml"):
        return read_toml(Path(name))
    presets = {
        Path(item.name).stem: tomllib.loads(item.read_text("utf-8"))
        for item in resources.files("gpt1.presets").iterdir()
        if item.name.endswith(".toml")
    }
    sizes = {n for n, p in presets.items() if "vocab_size" in p.get("model", {})}
    fitting = sorted(sizes if kind == "size" else presets.keys() - sizes)
    if name not in fitting:
        raise ConfigError(
            f"{kind} is {name!r}; there are {', '.join(fitting)}.{did_you_mean(name, fitting)} "
            f"A path to a .toml file works too."
        )
    return presets[name]


def read_toml(path: Path) -> dict[str, Any]:
    """Read a .toml file of settings, each in its section. Raises ConfigError."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the settings file {path} is not TOML: {error}") from None
    for name, value in values.items():
        if not isinstance(value, dict):
            raise ConfigError(
                f"the settings file {path} sets {name} outside a section; put each setting in its "
                f"section, e.g. steps in [train]."
            )
    return values


def parse_override(text: str) -> dict[str, Any]:
    """Parse "section.field=value", with a TOML value or a bare word. Raises ConfigError."""
    name, equals, value = text.partition("=")
    section, dot, field = name.strip().partition(".")
    if not equals or not dot or not field:
        raise ConfigError(
            f"--set is {text!r}; it takes section.field=value, e.g. --set optimizer.lr=1e-4"
        )
    try:
        parsed = tomllib.loads(f"x = {value.strip()}")["x"]
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits
        parsed = value.lstrip()
        if parsed[:1] in ("'", '"') and parsed.rstrip()[1:].endswith(parsed[0]):
            raise ConfigError(
                f"--set is {text!r}, whose value is no TOML text: {error}. Between single quotes a "
                f"backslash stands for itself: '\\d+'"
            ) from None
    return {section: {field: parsed}}
