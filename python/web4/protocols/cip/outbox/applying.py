"""What an event of the outbox changes in a peer's state (ACT-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from web4.protocols.cip.outbox import logic as outboxes
from web4.protocols.cip.outbox.entries import (
    EnvelopeConcluded,
    EnvelopeQueued,
    EnvelopesQueued,
    MessageSettled,
    MessagesTaken,
    MessageTaken,
)
from web4.protocols.cip.replay import Heard

if TYPE_CHECKING:
    from web4.protocols.cip.outbox.entries import OutboxEvent
    from web4.protocols.cip.peer_state import PeerState

MOVES: Final = (
    MessagesTaken,
    MessageTaken,
    MessageSettled,
    EnvelopeQueued,
    EnvelopesQueued,
    EnvelopeConcluded,
)
"""The events that `moved` is about."""
_changed: Final = msgspec.structs.replace


def moved(state: PeerState, event: OutboxEvent) -> PeerState:
    """Give the state after `event`."""
    if isinstance(event, MessagesTaken):
        ids = [
            (
                bytes.fromhex(one.msg_id.replace("-", "")),
                bytes.fromhex(one.content),
                bytes.fromhex(one.digest),
            )
            for one in event.messages
        ]
        known = state.known.adding_together(ids, event.at_ms, begins=event.begins, lets_go=event.lets_go)
        return _changed(state, known=known, taken=outboxes.with_messages(state.taken, event))
    if isinstance(event, MessageTaken):
        heard = Heard(bytes.fromhex(event.content), bytes.fromhex(event.digest))
        key = bytes.fromhex(event.msg_id.replace("-", ""))
        known = state.known.adding(key, heard, event.at_ms, begins=event.begins, lets_go=event.lets_go)
        return _changed(state, known=known, taken=outboxes.with_message(state.taken, event))
    if isinstance(event, MessageSettled):
        return _changed(state, taken=outboxes.without_messages(state.taken, event))
    if isinstance(event, EnvelopesQueued):
        return _changed(state, outbox=outboxes.queued_together(state.outbox, event))
    if isinstance(event, EnvelopeConcluded):
        return _changed(state, outbox=outboxes.without_entries(state.outbox, event))
    taken = state.taken
    if event.answers is not None:
        taken = outboxes.answered(taken, event.answers)
    return _changed(state, outbox=outboxes.queued(state.outbox, event), taken=taken)
