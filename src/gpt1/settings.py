"""The base of all settings: how they are checked, and how their bounds are told."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from gpt1.errors import ConfigError, did_you_mean


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _numpy_integers_are_integers(cls, value: Any) -> Any:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return int(value) if whole else value


S = TypeVar("S", bound=Settings)


def check(kind: type[S], values: Mapping[str, Any], *, where: str = "") -> S:
    """Build settings of `kind` from `values`, or raise ConfigError.

    >>> class Example(Settings):
    ...     size: int = 3
    >>> check(Example, {"size": 5}).size
    5
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(kind, error, where)) from None


def describe(kind: type[Settings]) -> dict[str, str]:
    """Return what each field allows, its default and what it does, for help texts.

    >>> from pydantic import Field
    >>> class Example(Settings):
    ...     size: int | None = Field(3, ge=1, description="How large it is.")
    >>> describe(Example)
    {'size': 'int, >= 1, or none; default 3. How large it is.'}
    """
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    lines = {}
    for name, field in kind.model_fields.items():
        allowed = _name(field.annotation)
        optional = allowed.endswith(" | None")
        parts = [allowed.removesuffix(" | None")]
        for bound in field.metadata:
            parts += [f"{s} {getattr(bound, a):,}" for a, s in signs.items() if hasattr(bound, a)]
        default = "none" if field.default in (None, (), {}) else field.default
        default = '""' if default == "" else default
        if isinstance(default, int) and default >= 10_000:
            default = f"{default:,}"
        told = ", ".join([*parts, *(["or none"] if optional else [])])
        lines[name] = f"{told}; default {default}. {field.description or ''}".rstrip()
    return lines


def _name(annotation: Any) -> str:
    """Return a type as people write it, without what only a checker needs."""
    if get_origin(annotation) is Annotated:
        return _name(get_args(annotation)[0])
    if annotation in (int, float, bool, str):
        return str(annotation.__name__)
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return " or ".join(str(value) for value in arguments)
    if get_origin(annotation) is tuple:
        return "a list of texts" if _name(arguments[0]) == "str" else "a list of numbers"
    if get_origin(annotation) is dict:
        return "a table of texts or ids"
    return " | ".join("None" if a is type(None) else _name(a) for a in arguments)


def _explain(kind: type[Settings], error: ValidationError, where: str) -> str:
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"]]
        name = ".".join([*([where] if where else []), *path])
        if item["type"] == "extra_forbidden":
            owner: Any = kind
            for part in path[:-1]:
                owner = owner.model_fields[part].annotation
            names = list(owner.model_fields)
            unknown = f"unknown setting {name!r}.{did_you_mean(path[-1], names)}"
            lines.append(f"{unknown} The settings there: {', '.join(names)}")
        elif item["type"] == "value_error":
            lines.append(str(item["ctx"]["error"]))
        else:
            limit = item["msg"].removeprefix("Input ")
            lines.append(f"{name} is {item['input']!r}; it {limit}.")
    return "\n".join(lines)
