"""What a hop can see: every envelope that a neighbour hands it, written down before it is looked at (MESH-1)."""

from __future__ import annotations

import base64
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from web4.protocols.messages.mesh import MeshRelay

if TYPE_CHECKING:
    from pathlib import Path

    from web4.mesh.runtime import MeshRuntime
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.messages.vocabulary import ChannelKind
    from web4.rtt import RttSession

MAX_BYTES: Final = 16 * 1024 * 1024
"""What is written down at most; of the rest only is said that there was some."""


class Recorder:
    """Stands between a node's sessions and its mesh, and hands all on as it comes.

    Args:
        mesh: The node's.
        directory: Gets `envelopes`, a line for each, and `relayed-ORIGIN`, the bytes of its carriers one after another.
    """

    def __init__(self, mesh: MeshRuntime, directory: Path) -> None:
        self.counts: Counter[str] = Counter()
        """Envelopes by type; `missed` are those beyond the bound."""
        self._mesh = mesh
        self._directory = directory
        self._left = MAX_BYTES
        directory.mkdir(exist_ok=True)
        for file in directory.iterdir():
            file.unlink()

    async def receive(self, peer: str, incoming: Incoming, channel: ChannelKind) -> None:
        """See `MeshPort.receive`."""
        message: Any = incoming.message
        self.counts[message.type] += 1
        self._write("envelopes", incoming.envelope.data + b"\n")
        payload = message.payload
        if isinstance(payload, MeshRelay) and payload.data is not UNSET:
            self._write(f"relayed-{message.origin[:12]}", base64.b64decode(payload.data))
        await self._mesh.receive(peer, incoming, channel)

    def link_up(self, peer: str, session: RttSession) -> None:
        """See `MeshPort.link_up`."""
        self._mesh.link_up(peer, session)

    def link_down(self, peer: str, session: RttSession) -> None:
        """See `MeshPort.link_down`."""
        self._mesh.link_down(peer, session)

    def _write(self, name: str, data: bytes) -> None:
        if len(data) > self._left:
            self.counts["missed"] += 1
            return
        self._left -= len(data)
        with (self._directory / name).open("ab") as file:
            file.write(data)
