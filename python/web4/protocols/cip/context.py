"""What all CIP sessions of a node share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from web4.protocols.messages.fields import StateClaim
from web4.trust import EvidenceStore

if TYPE_CHECKING:
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.identity import Identity
    from web4.foundation.ids import IdSource
    from web4.protocols.cip.mesh_path import MeshPort
    from web4.protocols.cip.meters import Turns
    from web4.protocols.cip.options import CipOptions
    from web4.trust import TrustRegistry


class Room(Protocol):
    """Whether the application can take in one more message of a peer, beside some that are to be taken in before."""

    def __call__(self, peer: str, /, beside: int = 0, size: int = 0) -> bool:
        """See `Room`."""
        ...


@dataclass(kw_only=True)
class CipContext:
    """The node's identity, sources and stores, and how it is now.

    Args:
        identity: Who this node is.
        options: See `CipOptions`.
        clock: Where time comes from.
        ids: Where ids, nonces and challenges come from.
        emit: Where events go (OBS-2).
        trust: Every peer's trust.
        room: Whether the application has room.
        evidence: Where envelopes are kept that trust events cite.
        mesh: Where mesh envelopes of neighbours go, if this node takes part.
        strangers: The turns of peers that are not trusted.
        state: How this node is; set by whoever measures it. `overloaded` defers HELLO and INTENT.
    """

    identity: Identity
    options: CipOptions
    clock: Clock
    ids: IdSource
    emit: Emitter
    trust: TrustRegistry
    room: Room
    evidence: EvidenceStore = field(default_factory=EvidenceStore)
    mesh: MeshPort | None = None
    strangers: Turns | None = None
    state: StateClaim = field(
        default_factory=lambda: StateClaim(presence="engaged", lri=0, kernel_signals=(), intent="")
    )

    def be(self, **changed: object) -> None:
        """Change how this node is; what is None stays.

        Raises:
            msgspec.ValidationError: A value is outside its range.
        """
        now = msgspec.to_builtins(self.state)
        now.update({name: value for name, value in changed.items() if value is not None})
        self.state = msgspec.convert(now, StateClaim)

    @property
    def overload_retry_ms(self) -> int | None:
        """The patience to ask for while this node is overloaded; None while it is not."""
        return self.options.overload_retry_ms if self.state.presence == "overloaded" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What RTT proved about a session. The binding is a secret of both ends (RTT-8).

    Args:
        session_id: In hex.
        peer: Fingerprint of the other end.
        public_key: Its raw public key, 32 bytes.
        binding: The session's binding, 32 bytes.
        initiator: Whether this node dialled.
    """

    session_id: str
    peer: str
    public_key: bytes
    binding: bytes = field(repr=False)
    initiator: bool
