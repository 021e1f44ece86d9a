"""Write the reference pages that follow from the code: `python -m scripts.reference` (ERR-1, ENV-1)."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from typing import Any

import web4
from web4.extensions.manifests.document import manifest_schema
from web4.foundation.errors import Web4Error
from web4.observe import event_schemas
from web4.protocols.messages.schemas import json_schemas

DIRECTORY = Path(__file__).parents[1] / "docs" / "reference"

HEAD = """\
# Errors

Written by `python -m scripts.reference` from the code; do not edit.

Every error that Web4 raises on purpose is a `Web4Error`. Its `code` is a stable word that never changes its
meaning; its text may change and never holds a secret. Depending on the error, `msg_id`, `peer` (the
fingerprint to which a failure is charged), `field` (a dotted path) and `retry_after_ms` say more.
"""


def declared_errors() -> list[type[Web4Error]]:
    """Import all of `web4`, and list every error class of it in the order of the tree."""
    for module in pkgutil.walk_packages(web4.__path__, "web4."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    ours = [leaf for leaf in Web4Error.registry.values() if leaf.__module__.startswith("web4.")]
    return sorted(ours, key=lineage)


def lineage(leaf: type[Web4Error]) -> tuple[str, ...]:
    """Name a class and its ancestors, the base first."""
    return tuple(cls.__name__ for cls in reversed(leaf.__mro__) if issubclass(cls, Web4Error))


def errors_page() -> str:
    """Write the page: the tree, then a table of codes for each class that has some."""
    errors = declared_errors()
    tree = ["Web4Error", *("  " * (len(lineage(leaf)) - 1) + leaf.__name__ for leaf in errors)]
    sections = [HEAD, "```text\n" + "\n".join(tree) + "\n```\n"]
    for leaf in errors:
        if leaf.codes:
            rows = [f"| `{code.code}` | {cell(code.meaning)} | {cell(code.effect)} |" for code in leaf.codes]
            table = "\n".join(["| code | meaning | effect |", "| --- | --- | --- |", *rows])
            about = inspect.cleandoc(leaf.__doc__ or "")
            sections.append(f"## {leaf.__name__}\n\n`{leaf.__module__}`. {about}\n\n{table}\n")
    return "\n".join(sections)


def cell(text: str) -> str:
    """Keep text from ending its cell of a table."""
    return text.replace("|", r"\|")


def schema_page(schema: dict[str, Any]) -> str:
    """Write a JSON Schema as its file has it (ENV-1)."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def pages() -> dict[str, str]:
    """Make every page; name and content."""
    schemas = {
        f"schemas/{protocol}/{name}.json": schema_page(schema)
        for protocol, by_name in json_schemas().items()
        for name, schema in by_name.items()
    }
    schemas |= {f"schemas/events/{name}.json": schema_page(one) for name, one in event_schemas().items()}
    schemas["schemas/extensions/manifest.json"] = schema_page(manifest_schema())
    return {"errors.md": errors_page(), **schemas}


def main() -> None:
    """Write the pages."""
    for name, content in pages().items():
        (DIRECTORY / name).parent.mkdir(parents=True, exist_ok=True)
        (DIRECTORY / name).write_text(content, encoding="utf-8")
        print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
