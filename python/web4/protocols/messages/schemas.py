"""The JSON Schemas of all messages, as they are exported to `docs/reference/schemas/` (ENV-1)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from web4.protocols.messages.vocabulary import TYPES

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, dict[str, Any]]]:
    """Give the JSON Schema of each type's whole envelope, by protocol and type name."""
    schemas: dict[str, dict[str, dict[str, Any]]] = {}
    for one in TYPES.values():
        schema = {"$schema": DIALECT, **msgspec.json.schema(one.envelope)}
        schemas.setdefault(one.protocol, {})[one.name] = schema
    return schemas
