"""A manifest as it is written in its file (EXT-5): the keys, their types and their bounds."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from web4.extensions.manifests.manifest import (
    MAX_LISTED,
    MAX_PARTS,
    Description,
    ExtensionName,
    Hook,
    Part,
    PathText,
    Resources,
    Reuse,
    SandboxWish,
    Timeouts,
    Tool,
    Variable,
    Version,
)

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Parts = Annotated[tuple[Part, ...], msgspec.Meta(max_length=MAX_PARTS)]


class EntryDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What runs: exactly one of the two.

    Args:
        python: `module:object`, for the Python SDK. The module is found in the extension's directory.
        command: argv of any program; its first word is absolute, or relative to the directory and inside it.
    """

    python: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=256,
                pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$(?!\n)",
            ),
        ]
        | None
    ) = None
    command: Annotated[tuple[PathText, ...], msgspec.Meta(min_length=1, max_length=MAX_LISTED)] | None = None


class ManifestDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`web4-extension.toml` or `web4-extension.json`. More must hold than these types say: reading it tells."""

    schema: Literal[1]
    protocol: Literal[1]
    name: ExtensionName
    version: Version
    description: Description
    entry: EntryDocument
    tools: Annotated[tuple[Tool, ...], msgspec.Meta(max_length=MAX_PARTS)] = ()
    commands: Parts = ()
    services: Parts = ()
    workloads: Parts = ()
    rules: Parts = ()
    hooks: Annotated[tuple[Hook, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    timeouts: Timeouts = Timeouts()
    resources: Resources = Resources()
    sandbox: SandboxWish = SandboxWish()
    environment: Annotated[tuple[Variable, ...], msgspec.Meta(max_length=MAX_LISTED)] = ()
    ui: bool = False
    reuse: Reuse = "shared"


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, as it is exported to `docs/reference/schemas/extensions/`."""
    return {"$schema": DIALECT, **msgspec.json.schema(ManifestDocument)}
