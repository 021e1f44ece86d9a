"""Schemas of tools: those that a manifest holds beside those that the types say, and writing the latter (EXT-43)."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from web4.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Schemas(NamedTuple):
    """What the types of one tool or command say; None where they say nothing."""

    input: dict[str, Any] | None
    output: dict[str, Any] | None


def same(one: Any, other: Any) -> bool:
    """Whether two schemas say the same. A default of null says nothing: TOML has no word for it."""
    return _told(one) == _told(other)


def _told(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _told(value) for key, value in schema.items() if (key, value) != ("default", None)}
    if isinstance(schema, list | tuple):
        return [_told(one) for one in schema]
    return schema


def write_schemas(manifest: Path, found: Mapping[tuple[str, str], Schemas]) -> None:
    """Put the schemas into a manifest; everything else in it, comments included, stays as it is.

    Args:
        manifest: The file.
        found: By `tools` or `commands`, and name.

    Raises:
        CommandError: `usage`: TOML cannot say it.
        OSError: It cannot be written; it is as it was.
    """
    text = manifest.read_text(encoding="utf-8")
    changed = _in_json(text, found) if manifest.suffix == ".json" else _in_toml(text, found)
    descriptor, draft = tempfile.mkstemp(prefix=f".{manifest.name}.", dir=manifest.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(changed)
        os.chmod(draft, manifest.stat().st_mode & 0o777)
        os.replace(draft, manifest)
    except BaseException:
        os.unlink(draft)
        raise


def _in_json(text: str, found: Mapping[tuple[str, str], Schemas]) -> str:
    document = msgspec.json.decode(text)
    _put(document, found, lambda schema: schema)
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _in_toml(text: str, found: Mapping[tuple[str, str], Schemas]) -> str:
    document = tomlkit.parse(text)
    try:
        _put(document, found, _inline)
        return tomlkit.dumps(document)
    except (TOMLKitError, ValueError, TypeError) as error:
        raise CommandError(
            f"TOML cannot say a schema that the types give ({error}): put the manifest into web4-extension.json",
            code="usage",
        ) from None


def _put(document: Any, found: Mapping[tuple[str, str], Schemas], form: Any) -> None:
    for (group, name), schemas in found.items():
        for part in document.get(group, ()):
            if part.get("name") != name:
                continue
            for key, schema in (("input_schema", schemas.input), ("output_schema", schemas.output)):
                if schema is None:
                    part.pop(key, None)
                elif not same(part.get(key), schema):
                    part[key] = form(_told(schema))


def _inline(value: Any) -> Any:
    """As it stands on one line."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, one in value.items():
            table[key] = _inline(one)
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for one in value:
            array.append(_inline(one))
        return array
    return tomlkit.item(value)
