"""Letting messages in: step 11 of VAL-1, and what came together and goes the usual way in one decision (ACT-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.foundation.logic import Decision
from web4.protocols.cip.outbox.entries import MessagesTaken, TakenRow
from web4.protocols.cip.peer_state import PeerOutcome, Refusal
from web4.protocols.gates import GATES

if TYPE_CHECKING:
    from web4.protocols.cip.handshake import HandshakeState
    from web4.protocols.cip.outbox.entries import OutboxLimits
    from web4.protocols.cip.peer_state import Arrived, ArrivedTogether, PeerEvent, PeerState
    from web4.protocols.cip.replay import ReplayLimits
    from web4.protocols.gates import Admission

_NEEDS_NO_ROOM: Final = frozenset({"RECEIPT", "STATE_UPDATE"})


def key_of(msg_id: str) -> bytes:
    """The 16 bytes under which an id is remembered."""
    return bytes.fromhex(msg_id.replace("-", ""))


def barred(handshake: HandshakeState | None, command: Arrived, admission: Admission) -> Refusal | None:
    """Step 11 for all but the handshake's own types: handshake, capability, gate; then room."""
    if admission == "drop":
        return Refusal("TrustViolationError", "gate", silent=True)
    if handshake is None or not handshake.established or handshake.agreement is None:
        return Refusal("TrustViolationError", "handshake", field="type")
    if not handshake.agreement.allows(command.type):
        return Refusal("TrustViolationError", "capability", field="type")
    unasked = command.type == "REPLY" and not command.answers_ours
    if admission == "no" or unasked:
        field = "type" if admission == "no" else "payload.in_reply_to"
        return Refusal("TrustViolationError", "gate", field=field)
    if not command.room and command.type not in _NEEDS_NO_ROOM:
        return Refusal("TryAgainLater", "busy", retry_after_ms=command.busy_retry_ms)
    return None


def taken_together(
    replay: ReplayLimits, outbox: OutboxLimits, state: PeerState, command: ArrivedTogether
) -> Decision[PeerEvent, PeerOutcome]:
    """Let in the first of `command`'s messages, up to one that is heard before, barred, or finds no place for its id.

    What becomes of those is decided for each by itself: nothing is decided here that `Arrived` decides otherwise.
    """
    room, most = state.known.room_for(command.at_ms, replay, outbox.retention_ms)
    handshake, trust = state.handshakes.get(command.session_id), state.trust.state
    agreement = None if handshake is None or not handshake.established else handshake.agreement
    if agreement is None:
        most = 0
    gates: dict[str, Admission | None] = {}
    keys: set[bytes] = set()
    rows: list[TakenRow] = []
    for one in command.letters[:most]:
        if one.type not in gates:
            admission = GATES[one.type][trust]
            let_in = admission not in ("no", "drop") and agreement is not None and agreement.allows(one.type)
            gates[one.type] = admission if let_in else None
        key, gate = key_of(one.msg_id), gates[one.type]
        if gate is None or key in keys or state.known.find(key) or state.replay.find(key):
            break
        keys.add(key)
        rows.append(TakenRow(one.msg_id, one.type, gate, one.content_digest, one.digest, one.size))
    if not rows:
        return Decision((), PeerOutcome("taken"))
    taken = MessagesTaken(
        number=state.taken.last + 1,
        at_ms=command.at_ms,
        trust=trust,
        messages=tuple(rows),
        envelopes=tuple([one.envelope for one in command.letters[: len(rows)]]),
        begins=room.begins,
        lets_go=room.lets_go,
    )
    return Decision((taken,), PeerOutcome("handled", together=tuple([row.admission for row in rows])))
