"""The nodes of the mesh demo without its story: whole nodes in processes of their own, joined as one likes."""

from __future__ import annotations

import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from web4.demo.ring.layout import Layout
from web4.demo.ring.options import MeshOptions
from web4.demo.ring.ring import Ring
from web4.demo.ring.stage import Stage
from web4.demo.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE = 90.0
"""Seconds that a step may take where others run as well."""


class Star(Layout):
    """The first of them has a cable to every other; those reach each other over it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.cables = [(self.names[0], other) for other in self.names[1:]]


@asynccontextmanager
async def whole_nodes(directory: Path, layout: Layout) -> AsyncIterator[Stage]:
    """Start the nodes of a layout; neighbours know and trust each other. All end with the block."""
    options = MeshOptions(nodes=len(layout.names), transport="unix")
    async with trio.open_nursery() as nursery:
        timeline = Timeline(json=True, out=io.StringIO())
        ring = Ring(timeline, directory=directory, options=options, nursery=nursery)
        ring.layout, ring.patience = layout, PATIENCE
        try:
            await ring.open()
            yield Stage(ring)
        finally:
            await ring.close()
        nursery.cancel_scope.cancel()
