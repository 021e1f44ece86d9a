"""What a node holds about one peer."""

from __future__ import annotations

import msgspec

from web4.trust.table import TrustEventName, TrustState


class TrustRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one TrustFSM. The default is that of a peer nobody knows.

    Args:
        state: `unknown` stands for "no record" and gates as untrusted.
        seq: Number of the last event.
        at_ms: Time of the last event.
        cooldown_until_ms: An untrusted peer's handshakes do not raise it before this time (TRUST-3).
        demotions: Demotions with a cooldown since the doubling was reset.
        demoted_at_ms: Time of the last of them.
        unverifiable_at_ms: Times of the `unverifiable` that have not led to a demotion yet.
        grave_conflicts: Conflicts so far that count towards `severe_conflict` (TRUST-4).
        handshaken: The peer completed a handshake here itself.
        revoked: An operator blocked it: a signature of its key proves nothing (ID-4).
        newcomer_at_ms: When it left `unknown` otherwise than by the operator's word (TRUST-10); 0 if it did not.
        evidence_bytes: Bytes of the envelopes that are kept against it.
        introducer: Who introduced it when it was unknown; for KNOW-3 they count as one. Only the operator's own word
            (`anchored`, `operator_promote`) ends that.
        counts: How often each event came.
    """

    state: TrustState = "unknown"
    seq: int = 0
    at_ms: int = 0
    cooldown_until_ms: int = 0
    demotions: int = 0
    demoted_at_ms: int = 0
    unverifiable_at_ms: tuple[int, ...] = ()
    grave_conflicts: int = 0
    handshaken: bool = False
    revoked: bool = False
    newcomer_at_ms: int = 0
    evidence_bytes: int = 0
    introducer: str | None = None
    counts: dict[TrustEventName, int] = msgspec.field(default_factory=dict)

    @property
    def unverified(self) -> bool:
        """Whether it is here by an introduction alone: it never completed a handshake itself (MESH-10, MESH-11)."""
        return self.introducer is not None and not self.handshaken
