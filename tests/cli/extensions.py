"""Extensions for the tests of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from web4.cli.extensions.scaffold import write_scaffold

if TYPE_CHECKING:
    from pathlib import Path


def scaffold(project: Path, name: str = "notes") -> Path:
    """A new extension in its place in a project, as `web4 ext new` writes it."""
    target = project / ".web4" / "extensions" / name
    write_scaffold(name, target)
    return target


def change_manifest(directory: Path, **changes: Any) -> None:
    """Rewrite the manifest with some keys changed; None takes one out. It becomes JSON."""
    path = directory / "web4-extension.json"
    toml = directory / "web4-extension.toml"
    if toml.exists():
        document = msgspec.toml.decode(toml.read_bytes())
        toml.unlink()
    else:
        document = msgspec.json.decode(path.read_bytes())
    for key, value in changes.items():
        if value is None:
            document.pop(key, None)
        else:
            document[key] = value
    path.write_bytes(msgspec.json.encode(document))
