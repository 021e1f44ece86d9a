"""What a session says of the messages that come and go (OBS-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from web4.foundation.digest import blake3_hex
from web4.foundation.events import no_events
from web4.protocols.cip.actions import Report
from web4.protocols.messages.vocabulary import TYPES

if TYPE_CHECKING:
    from web4.foundation.events import Emitter
    from web4.protocols.cip.context import SessionFacts
    from web4.protocols.cip.sealing import Sealed
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.gates import Admission
    from web4.protocols.messages.cip import StateUpdateEnvelope
    from web4.protocols.messages.vocabulary import AgentMessage


class Reports:
    """Events of one session.

    Args:
        facts: Which session.
        emit: Gets what need not wait for the journal.
    """

    def __init__(self, facts: SessionFacts, emit: Emitter) -> None:
        self._facts = facts
        self._emit = emit

    @property
    def wanted(self) -> bool:
        """Whether anybody gets them; what nobody gets need not be put together."""
        return self._emit is not no_events

    def received(self, incoming: Incoming, admission: Admission | None) -> Report:
        """A message was let in."""
        return self._report(
            "envelope_received",
            incoming.message,
            type=incoming.message.type,
            digest=incoming.digest,
            admission=admission,
        )

    def told_state(self, message: StateUpdateEnvelope) -> Report:
        """The peer said how it is."""
        update = message.payload
        return self._report(
            "state_update",
            message,
            presence=update.presence,
            lri=update.lri,
            kernel_signals=list(update.kernel_signals),
        )

    def sent(self, sealed: Sealed) -> None:
        """The transport has accepted a message: only then is it reported (RTT-70)."""
        if not self.wanted:
            return
        self._emit(
            "envelope_sent",
            severity="debug",
            peer=self._facts.peer,
            session_id=self._facts.session_id,
            protocol=TYPES[sealed.type].protocol,
            msg_id=sealed.msg_id,
            corr_id=sealed.corr_id,
            type=sealed.type,
            digest=blake3_hex(sealed.data),
        )

    def _report(self, kind: str, message: AgentMessage, **fields: Any) -> Report:
        corr_id = None if message.corr_id is UNSET else message.corr_id
        protocol = TYPES[message.type].protocol
        about = {"peer": self._facts.peer, "session_id": self._facts.session_id, "protocol": protocol}
        return Report(
            kind, {**about, "severity": "debug", "msg_id": message.msg_id, "corr_id": corr_id, **fields}
        )
