"""Why arguments do not fit a schema, told to whoever wrote them without repeating what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

_LONGEST: Final = 200
"""Characters of what was expected, and of a pointer."""
_RULES: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} properties",
    "maxProperties": "at most {} properties",
}


class Misfit(NamedTuple):
    """The first thing that does not fit: where (a JSON pointer), what was expected, what came instead."""

    pointer: str
    expected: str
    found: str


def describe(error: ValidationError, schema: Any) -> Misfit:
    """Tell of an error of the validator.

    Args:
        error: The first one.
        schema: That it was validated against.
    """
    pointer = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in error.instance_path)
    rule = str(error.schema_path[-1]) if error.schema_path else "false"
    value = _at(schema, error.schema_path)
    return Misfit(_cut(pointer), _cut(_expected(rule, value, error)), _found(rule, error))


def _expected(rule: str, value: Any, error: ValidationError) -> str:
    match rule:
        case "type":
            text = value if isinstance(value, str) else " or ".join(map(str, value or ["another type"]))
        case "required":
            text = f"the property {getattr(error.kind, 'property', 'that is missing')}"
        case "additionalProperties" | "unevaluatedProperties":
            text = "no other properties"
        case "enum" | "const" | "format" | "pattern":
            text = f"{rule} {_written(value)}"
        case _:
            text = _RULES.get(rule, f"what {rule} allows").format(value)
    return text


def _found(rule: str, error: ValidationError) -> str:
    unexpected = getattr(error.kind, "unexpected", None)
    if rule in {"additionalProperties", "unevaluatedProperties"} and unexpected:
        return _cut(", ".join(str(one) for one in list(unexpected)[:5]))
    return found(error.instance)


def found(value: Any) -> str:
    """What a value is, without what it says."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return _cut(repr(value)) if abs(value) < 2**63 else "a number of many digits"
    for kind, name, unit in ((str, "a string", "characters"), (list, "an array", "items")):
        if isinstance(value, kind):
            return f"{name} of {len(value)} {unit}"
    if isinstance(value, dict):
        return f"an object of {len(value)} properties"
    return f"a value of type {type(value).__name__}, which JSON does not know"


def _at(schema: Any, path: list[str | int]) -> Any:
    """The part of a schema that a path leads to; None if it leads elsewhere (through a reference)."""
    for step in path:
        try:
            schema = schema[step]
        except (KeyError, IndexError, TypeError):
            return None
    return schema


def _written(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError):
        return "of the schema"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
