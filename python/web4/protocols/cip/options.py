"""The numbers and names of a node's CIP, checked when they are set (LIM-1, section 22)."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from web4.foundation.codec import AgentId
from web4.foundation.envelope import DEFAULT_MAX_BYTES, LARGEST_MAX_BYTES
from web4.protocols.cip.agreement import Offer
from web4.protocols.cip.meters import Turns
from web4.protocols.cip.outbox.entries import OutboxLimits
from web4.protocols.cip.replay import ReplayLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class CipOptions:
    """How a node speaks CIP.

    Args:
        agent_id: The node's name, without authority (ID-3).
        offer: Protocols, capabilities and features of its HELLO.
        skew_ms: How far timestamps may differ from the time here.
        envelope_bytes: How long a canonical envelope may be; 256 KiB at most (ENV-3).
        replay_ids: Ids held per peer (REP-1).
        step_deadline_ms: How long one step of a handshake may take (HS-3).
        overload_retry_ms: The patience asked for while this node is overloaded (HS-5, CIP-4).
        busy_retry_ms: The patience asked for while the application has no room.
        messages_per_second, message_burst: What one peer may send (LIM-2).
        errors_per_second: ERRORs sent to one peer (CIP-2).
        faults_per_minute: Faulty envelopes borne before the session is closed (VAL-4).
        strangers_per_second, strangers_burst: Messages that are read of all peers together that are not trusted, beside
            those on control channels. Nothing is dropped: more wait where they come from, by credit (RTT). None: as
            many as come.
        handshakes_per_second, handshake_burst: Per network address.
        inbox_per_peer, inbox_total: Messages that wait for the application (LOOP-1).
        inbox_bytes_per_peer, inbox_bytes_total: And their bytes, exceeded by one message at most.
        unsettled_per_peer: Messages of one peer that the application may have taken and not settled; more are `busy`.
        unsettled_bytes_per_peer: And their bytes, exceeded by one message at most.
        outbox: What may wait for a peer, and how long (section 18).
        intent_deadline_ms: How long the application may take to accept or refuse an INTENT.
        recent_bytes: Bytes of envelopes held per peer, so that equivocation can be shown with both.
        lane_records: Records after which a peer's lane is compacted (JRN-17), or it could fill the disk with what it
            says: some 700 bytes for each message. None keeps them all.
    """

    agent_id: str
    offer: Offer = field(default_factory=Offer)
    skew_ms: int = 120_000
    envelope_bytes: int = DEFAULT_MAX_BYTES
    replay_ids: int = 150_000
    step_deadline_ms: int = 5_000
    overload_retry_ms: int = 5_000
    busy_retry_ms: int = 1_000
    messages_per_second: float = 500
    message_burst: float = 1_000
    errors_per_second: int = 10
    faults_per_minute: int = 20
    strangers_per_second: float | None = None
    strangers_burst: float = 200
    handshakes_per_second: float = 5
    handshake_burst: float = 20
    inbox_per_peer: int = 256
    inbox_total: int = 4_096
    inbox_bytes_per_peer: int = 4 * 1024 * 1024
    inbox_bytes_total: int = 64 * 1024 * 1024
    unsettled_per_peer: int = 4_096
    unsettled_bytes_per_peer: int = 16 * 1024 * 1024
    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    intent_deadline_ms: int = 5_000
    recent_bytes: int = 1024 * 1024
    lane_records: int | None = 200_000

    def __post_init__(self) -> None:
        msgspec.convert(self.agent_id, AgentId)
        msgspec.convert(msgspec.to_builtins(self.offer), Offer)
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")
        _ = self.replay  # checks its own limits
        if self.envelope_bytes > LARGEST_MAX_BYTES:
            raise ValueError(f"envelope_bytes must not exceed {LARGEST_MAX_BYTES}")

    def turns(self) -> Turns | None:
        """The turns of all peers together that are not trusted, if they have to take any."""
        if self.strangers_per_second is None:
            return None
        return Turns(self.strangers_per_second, self.strangers_burst)

    @property
    def replay(self) -> ReplayLimits:
        """The limits of the replay window that follow."""
        return ReplayLimits(skew_ms=self.skew_ms, ids=self.replay_ids)
