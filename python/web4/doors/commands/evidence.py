"""Writing evidence to a file: `evidence_export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from web4.doors.commands.operators import add_for_operators
from web4.doors.control.wire import refused
from web4.doors.views.evidence import export_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.control import CommandSet
    from web4.doors.views.reading import Reading
    from web4.node import Node


class Export(msgspec.Struct, frozen=True):
    """Where to, as an absolute path, and the digests of bodies; none for the last fetches."""

    path: str
    digests: Annotated[tuple[str, ...], msgspec.Meta(max_length=200)] = ()


def add(commands: CommandSet, _: Node, reading: Reading) -> None:
    """Add the commands of this group."""

    async def export(asked: Export) -> Mapping[str, Any]:
        path = Path(asked.path)
        if not path.is_absolute() or "\0" in asked.path:
            raise refused("path must be absolute")
        return await export_evidence(reading, path, asked.digests)

    add_for_operators(commands, "evidence_export", Export, export)
