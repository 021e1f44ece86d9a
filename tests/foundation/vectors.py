"""Reads the vector files that the native and the Python face share (SIG-5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_DIRECTORY = Path(__file__).parents[1] / "vectors"


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_DIRECTORY / f"{name}.json").read_bytes())
    return document


def entries(name: str, key: str) -> list[dict[str, Any]]:
    """One list of a file, for `parametrize(..., ids=entry_name)`."""
    found: list[dict[str, Any]] = load(name)[key]
    assert found
    return found


def entry_name(entry: dict[str, Any]) -> str:
    return str(entry["name"])


def unpack(entry: dict[str, Any]) -> bytes:
    """Bytes in which one long run of `x` may be abbreviated."""
    data = bytes.fromhex(entry["data"])
    at, length = int(entry.get("run_at", 0)), int(entry.get("run_length", 0))
    return data[:at] + b"x" * length + data[at:]
