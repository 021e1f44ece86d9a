"""The JSON Schemas of CIP, as they are exported to `docs/reference/schemas/cip/` (ENV-1).

`python -m web4.protocols.cip.schemas docs/reference/schemas/cip` writes them anew.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from web4.protocols.cip.messages import ENVELOPES

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """Give the JSON Schema of each type's whole envelope, by type name."""
    return {name: {"$schema": DIALECT, **msgspec.json.schema(kind)} for name, kind in ENVELOPES.items()}


def rendered(schema: dict[str, Any]) -> str:
    """Write a schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(directory: Path) -> None:
    """Write one file per type into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas().items():
        (directory / f"{name}.json").write_text(rendered(schema), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
