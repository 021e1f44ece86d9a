"""Introductions behind the mesh: MESH_INTRODUCE and MESH_REVOKE as they are delivered (MESH-6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from web4.protocols.messages.mesh import MeshIntroduceEnvelope, MeshRevokeEnvelope

if TYPE_CHECKING:
    from web4.mesh.introductions.introductions import Introductions
    from web4.mesh.runtime import MeshRuntime
    from web4.protocols.messages.mesh import MeshMessage


def register_introductions(mesh: MeshRuntime, introductions: Introductions) -> None:
    """Let `introductions` hear the broadcasts that are theirs. Each is delivered once, form and signature checked.

    Raises:
        ValueError: Something else hears them already.
    """

    async def introduced(message: MeshMessage, _via: str) -> None:
        assert isinstance(message, MeshIntroduceEnvelope)
        await introductions.introduced(message)

    async def revoked(message: MeshMessage, _via: str) -> None:
        assert isinstance(message, MeshRevokeEnvelope)
        await introductions.revoked(message)

    mesh.on_broadcast("MESH_INTRODUCE", introduced)
    mesh.on_broadcast("MESH_REVOKE", revoked)
