"""Schemas inside a manifest: of one dialect, of bounded size, whole in themselves (EXT-5, EXT-17)."""

from __future__ import annotations

import json
from typing import Any, Final

from web4.extensions.errors import ManifestError
from web4.extensions.manifests.document import DIALECT
from web4.extensions.manifests.schemas import compile_schema

MAX_SCHEMA: Final = 64 * 1024
"""Bytes of one schema as JSON (`=`)."""


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
    dialect = schema.get("$schema", DIALECT)
    if not isinstance(dialect, str) or dialect.rstrip("#") != DIALECT:
        raise ManifestError(f"a schema's dialect is {DIALECT}", field=f"{field}.$schema")
    if of_object and schema.get("type") != "object":
        raise ManifestError("the arguments are an object: `type` must be `object`", field=f"{field}.type")
    compile_schema(schema, field=field)
