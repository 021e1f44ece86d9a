"""Extensions on disk, for tests of what reads them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PLAIN: dict[str, Any] = {
    "schema": 1,
    "protocol": 1,
    "name": "acme.notes",
    "version": "1.0.0",
    "description": "Notes.",
    "entry": {"python": "notes:ext"},
}
SEARCH: dict[str, Any] = {"name": "search", "description": "Find.", "input_schema": {"type": "object"}}


def document(**keys: Any) -> dict[str, Any]:
    """A manifest that fits, with some keys otherwise; `...` leaves one out."""
    made = copy.deepcopy(PLAIN) | copy.deepcopy(keys)
    return {key: value for key, value in made.items() if value is not ...}


def make_extension(directory: Path, **keys: Any) -> Path:
    """An extension's directory with a JSON manifest and one module."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "web4-extension.json").write_text(json.dumps(document(**keys)))
    (directory / "notes.py").write_text("raise RuntimeError('nobody may import this')\n")
    return directory
