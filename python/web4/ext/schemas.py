"""Schemas from types: JSON Schema 2020-12, unknown properties refused (EXT-43, AGT-29)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from web4.ext.failures import DeclarationError

_SECTIONS: Final = re.compile(
    r"^(Args|Arguments|Returns|Raises|Yields|Note|Notes|Example|Examples):\s*$", re.MULTILINE
)
_ARGUMENT: Final = re.compile(r"^(\s+)\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")
_REF: Final = "#/$defs/{name}"


def schema_of(kind: Any) -> dict[str, Any] | None:
    """The schema of a type; None for `Any`, of which nothing can be said.

    Raises:
        DeclarationError: A type that has no form in JSON.
    """
    if kind is Any:
        return None
    try:
        (root,), definitions = msgspec.json.schema_components([kind], ref_template=_REF)
    except (TypeError, ValueError) as error:
        first = str(error).splitlines()[-1]
        raise DeclarationError(f"{kind!r} has no schema: {first}") from None
    name = root["$ref"].removeprefix("#/$defs/") if set(root) == {"$ref"} else None
    if name is not None:
        root = definitions[name]
        if not _refers(root, name) and not any(_refers(one, name) for one in definitions.values()):
            del definitions[name]
    schema = dict(root)
    if definitions:
        schema["$defs"] = dict(definitions)
    _close(schema)
    return schema


def _refers(schema: Any, name: str) -> bool:
    if isinstance(schema, dict):
        return schema.get("$ref") == f"#/$defs/{name}" or any(_refers(one, name) for one in schema.values())
    return isinstance(schema, list) and any(_refers(one, name) for one in schema)


def _close(schema: dict[str, Any]) -> None:
    """Refuse unknown properties, all the way down, and drop the titles, which only repeat the names of types."""
    schema.pop("title", None)
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    if schema.get("required") == []:
        del schema["required"]
    # Only where schemas stand: `default`, `const` and `enum` hold values, which may look like schemas.
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema.get(key) for key in ("items", "additionalProperties")]
    for key in ("anyOf", "prefixItems"):
        inner += schema.get(key, [])
    for one in inner:
        if isinstance(one, dict):
            _close(one)


def split_docstring(text: str | None) -> tuple[str, dict[str, str]]:
    """A docstring's description, its sections left out, and what its `Args:` say of each argument."""
    if not text:
        return "", {}
    parts = _SECTIONS.split(text)
    paragraphs = [" ".join(one.split()) for one in re.split(r"\n\s*\n", parts[0])]
    arguments: dict[str, str] = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title in {"Args", "Arguments"}:
            arguments |= _arguments(body)
    return "\n\n".join(one for one in paragraphs if one), arguments


def _arguments(body: str) -> dict[str, str]:
    found: dict[str, str] = {}
    margin, name = "", ""
    for line in body.splitlines():
        match = _ARGUMENT.match(line)
        if match and (not margin or match[1] == margin):
            margin, name = match[1], match[2]
            found[name] = match[3].strip()
        elif name and line.strip() and line.startswith(margin + " "):
            found[name] = f"{found[name]} {line.strip()}".strip()
        elif line.strip() and not line.startswith(" "):
            break
    return found
