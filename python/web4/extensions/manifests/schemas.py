"""Schemas of extensions: compiled once, never fetched from anywhere (EXT-17)."""

from __future__ import annotations

from typing import Any, Final

import jsonschema_rs

from web4.extensions.conversation.values import MAX_DEPTH, depth_of
from web4.extensions.errors import ManifestError
from web4.extensions.manifests.misfit import Misfit, describe, found
from web4.extensions.manifests.schema_cost import TooCostlyError, deepest

_LONGEST: Final = 300
"""Characters of a complaint."""
_PATTERNS: Final = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 21)
"""An engine without backtracking: no pattern of an extension can keep the node busy."""
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class Schema:
    """A schema that is ready to check values. Made by `compile_schema`."""

    __slots__ = ("_deepest", "_validator", "source")

    def __init__(self, source: dict[str, Any], validator: jsonschema_rs.Validator, deepest: int) -> None:
        self.source = source
        """As it was written."""
        self._validator = validator
        self._deepest = deepest

    def complaint(self, value: Any) -> str | None:
        """Why `value` does not fit, in one bounded sentence without its contents; None if it does."""
        if self._deepest < MAX_DEPTH and depth_of(value) > self._deepest:
            return f"nested deeper than {self._deepest} it cannot be checked"
        try:
            if self._validator.is_valid(value):
                return None
            error = next(self._validator.iter_errors(value), None)
        except (ValueError, TypeError, OverflowError, RecursionError) as failure:
            return f"it cannot be checked: {type(failure).__name__}"
        if error is None:
            return "it does not fit"
        where = "/".join(str(step) for step in error.instance_path) or "the whole"
        rule = "/".join(str(step) for step in error.schema_path)
        return f"{where} breaks {rule}"[:_LONGEST]

    def misfit(self, value: Any) -> Misfit | None:
        """The first thing of `value` that does not fit, for whoever wrote it; None if it does."""
        if self._deepest < MAX_DEPTH and depth_of(value) > self._deepest:
            return Misfit("", f"nothing nested deeper than {self._deepest}", "what is")
        try:
            if self._validator.is_valid(value):
                return None
            error = next(self._validator.iter_errors(value), None)
        except (ValueError, TypeError, OverflowError, RecursionError):
            return Misfit("", "JSON values", "what is none")
        return Misfit("", "another value", found(value)) if error is None else describe(error, self.source)


def compile_schema(schema: dict[str, Any], *, field: str) -> Schema:
    """Make a schema of a manifest ready: Draft 2020-12, or the one that it names.

    Args:
        schema: As the manifest has it.
        field: Where it stands in the manifest, for the error.

    Raises:
        ManifestError: It is no schema, refers to something outside itself, as nothing is ever fetched, or asks for so
            much work that no value could be checked.
    """
    _refuse_remote(schema, field)
    try:
        depth = deepest(schema)
        validator = jsonschema_rs.validator_for(
            schema, pattern_options=_PATTERNS, offline=True, validate_formats=True
        )
    except (ValueError, TypeError, OverflowError, RecursionError, TooCostlyError) as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise ManifestError(f"no usable JSON Schema: {text[0][:_LONGEST]}", field=field) from None
    return Schema(schema, validator, depth)


def _refuse_remote(schema: dict[str, Any], field: str) -> None:
    """Every reference begins with `#`: what is elsewhere can change after the digest was pinned (EXT-7)."""
    waiting: list[Any] = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for word in _REFERENCES:
                target = one.get(word)
                if isinstance(target, str) and not target.startswith("#"):
                    raise ManifestError(f"{word} leads outside the schema", field=field)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
