"""The JSON Schemas of CIP, as they are exported to `docs/reference/schemas/cip/` (ENV-1)."""

from __future__ import annotations

from typing import Any

import msgspec

from web4.protocols.cip.messages import ENVELOPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """Give the JSON Schema of each type's whole envelope, by type name."""
    return {name: {"$schema": DIALECT, **msgspec.json.schema(kind)} for name, kind in ENVELOPES.items()}
