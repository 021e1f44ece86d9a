"""Write the vector files: `python -m scripts.vectors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.vectors import canonical, envelopes, signatures

DIRECTORY = Path(__file__).parents[2] / "tests" / "vectors"


def files() -> dict[str, str]:
    """Make every vector file; name and content."""
    documents: dict[str, dict[str, Any]] = {
        "canonical.json": canonical.document(),
        "identities.json": signatures.identities(),
        "signatures.json": signatures.document(),
        "envelopes.json": envelopes.document(),
    }
    return {name: json.dumps(document, indent=1) + "\n" for name, document in documents.items()}


def main() -> None:
    """Write the files."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        (DIRECTORY / name).write_text(content, encoding="ascii")
        print(f"wrote tests/vectors/{name}")


if __name__ == "__main__":
    main()
