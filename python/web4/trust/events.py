"""What the TrustFSM records: one event per command that concerned a record (TRUST-7)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from web4.trust.table import TrustEventName, TrustState

_OPERATORS_WORD: Final = frozenset({"operator_promote", "operator_block", "manual_override", "anchored"})


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an event rests on: an envelope by BLAKE3 and `msg_id`, or a claim by its key (KNOW-1).

    `blob` and `size`, in bytes, are those of an envelope that is kept (JRN-8); one for which there was no room has
    neither. See `cited_envelope`.
    """

    blake3: str
    kind: Literal["envelope", "claim"] = "envelope"
    msg_id: str | None = None
    blob: str | None = None
    size: int | None = None


def cited_envelope(blake3: str, msg_id: str | None, size: int | None) -> Evidence:
    """Cite an envelope by the BLAKE3 of its bytes; `size` says that it is kept, and how long it is."""
    return Evidence(blake3=blake3, msg_id=msg_id, blob=None if size is None else f"b3:{blake3}", size=size)


class TrustEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One entry of a peer's trust log. Applying the entries in order rebuilds the record.

    `from` is spelled `from_` in Python and `from` in every encoding. `at_ms` is the time that came with the
    command, never below that of the entry before it. The last four fields carry what the guards worked out,
    so that replay needs no limits: None means unchanged.
    """

    seq: int
    from_: TrustState = msgspec.field(name="from")
    to: TrustState
    event: TrustEventName
    reason: str
    actor: str
    at_ms: int
    evidence: tuple[Evidence, ...] = ()
    cooldown_until_ms: int | None = None
    demotions: int | None = None
    unverifiable_at_ms: tuple[int, ...] | None = None
    grave_conflicts: int | None = None

    @property
    def moved(self) -> bool:
        """Whether the trust state changed."""
        return self.from_ != self.to

    @property
    def is_newcomer(self) -> bool:
        """Whether it makes a record that TRUST-10 counts: all but the operator's own. An introducer's count."""
        return self.from_ == "unknown" and self.event not in _OPERATORS_WORD
