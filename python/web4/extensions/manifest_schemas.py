"""Schemas inside a manifest: JSON Schema 2020-12, whole in themselves (EXT-5, EXT-17)."""

from __future__ import annotations

import json
from typing import Any, Final

import jsonschema_rs

from web4.extensions.errors import ManifestError

MAX_SCHEMA: Final = 64 * 1024
"""Bytes of one schema as JSON (`=`)."""
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 21)
"""An engine without backtracking: no pattern of an extension can keep the node busy."""


def check_schema(schema: dict[str, Any], field: str, *, of_object: bool) -> None:
    """Check one schema of a manifest. Nothing is fetched and no other file is read.

    Args:
        schema: As the manifest has it.
        field: Its dotted path, for errors.
        of_object: Whether it must describe an object: the arguments of a tool or command.

    Raises:
        ManifestError: It is too large, no schema of 2020-12, or refers to something outside itself.
    """
    if len(json.dumps(schema)) > MAX_SCHEMA:
        raise ManifestError(f"a schema is longer than {MAX_SCHEMA:,} bytes", field=field)
    dialect = schema.get("$schema", _DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != _DIALECT:
        raise ManifestError(f"a schema's dialect is {_DIALECT}", field=f"{field}.$schema")
    if of_object and schema.get("type") != "object":
        raise ManifestError("the arguments are an object: `type` must be `object`", field=f"{field}.type")
    _refuse_outside(schema, field)
    try:
        jsonschema_rs.Draft202012Validator(schema, retriever=_nothing, pattern_options=_PATTERNS)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # the library's are ValueErrors
        reason = str(error).partition("\n")[0][:300]
        raise ManifestError(f"no schema of JSON Schema 2020-12: {reason}", field=field) from None


def _refuse_outside(value: Any, field: str) -> None:
    """Refuse references that leave the schema; what merely looks like one, in an example, is refused too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _REFERENCES and isinstance(inner, str) and not inner.startswith("#"):
                raise ManifestError("a schema refers to itself only: `#…`", field=f"{field}.{key}"[:200])
            _refuse_outside(inner, f"{field}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_outside(inner, f"{field}[{index}]")


def _nothing(uri: str) -> Any:
    raise ValueError(f"{uri} is outside of the schema")
