"""What follows from a refused envelope: one error, one event, blame for the session's peer (VAL-3, VAL-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from web4.foundation import envelope as envelopes
from web4.foundation.digest import blake3_hex
from web4.foundation.errors import EnvelopeError, InvalidEnvelopeError, SignatureMismatchError, Web4Error
from web4.protocols.cip.actions import Action, Close, Send
from web4.protocols.errors import MeshEnvelopeError, ReplayError, TryAgainLater
from web4.protocols.messages.cip import Error
from web4.trust import AuthFailure, MaliciousEvidence, TrustCommand, TrustViolationError, cited_envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.cip.context import CipContext, SessionFacts
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.peer_state import Refusal, RefusalKind
    from web4.protocols.cip.sealing import Sealed
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.messages.vocabulary import AgentPayload
    from web4.trust import TrustOutcome

_KINDS: Final[dict[RefusalKind, type[Web4Error]]] = {
    "InvalidEnvelopeError": InvalidEnvelopeError,
    "ReplayError": ReplayError,
    "TrustViolationError": TrustViolationError,
    "TryAgainLater": TryAgainLater,
}
_CAUSE_NO_ERROR: Final = frozenset({"ERROR", "RECEIPT"})


class Refusals:
    """Refuses on behalf of one session."""

    def __init__(
        self, context: CipContext, peer: Peer, facts: SessionFacts, sealed: Callable[[AgentPayload], Sealed]
    ) -> None:
        self._context = context
        self._peer = peer
        self._facts = facts
        self._sealed = sealed

    def keeps(self, incoming: Incoming) -> tuple[int | None, int | None]:
        """The sizes of an envelope and of the first under its id, as far as both could be kept as evidence."""
        store, peer, size = self._context.evidence, self._facts.peer, len(incoming.envelope.data)
        first = self._peer.recent.get(incoming.message.msg_id)
        both = first is not None and store.room(peer, size + len(first))
        return (
            size if store.room(peer, size) else None,
            len(first) if first is not None and both else None,
        )

    def tell(self, code: str, msg_id: str | None, retry_after_ms: int | None = None) -> list[Action]:
        """Send the peer an ERROR, unless it is blacklisted or had ten within the second (CIP-2)."""
        blacklisted = self._peer.trust == "blacklisted"
        if blacklisted or not self._peer.errors.take(self._context.clock.monotonic_ns()):
            return []
        error = Error(
            code=code,
            msg_id=UNSET if msg_id is None else msg_id,
            retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
        )
        return [Send("control", self._sealed(error), urgent=True)]

    def rate_limited(self, data: bytes, now_ns: int) -> list[Action]:
        """Drop a message unread; once a second the peer is told, and an event says how many (LIM-2)."""
        self._peer.dropped += 1
        if not self._peer.rate_reports.take(now_ns):
            return []
        retry_after_ms = self._peer.messages.retry_after_ms()
        error = TryAgainLater(
            "more messages than allowed",
            code="rate_limited",
            peer=self._facts.peer,
            retry_after_ms=retry_after_ms,
        )
        self._report(error, None, None, dropped=self._peer.dropped)
        self._peer.dropped = 0
        # Read now and then only, so still cheap: two nodes must not answer each other's ERRORs (CIP-2).
        return [] if _type_of(data) in _CAUSE_NO_ERROR else self.tell("rate_limited", None, retry_after_ms)

    def faulty(self, error: EnvelopeError, data: bytes, at_ms: int) -> list[Action]:
        """Refuse what failed in steps 1 to 9."""
        digest = blake3_hex(data)
        self._report(error, digest, None)
        if isinstance(error, SignatureMismatchError):
            return self._blame(error, data, digest, at_ms)
        actions = [] if _type_of(data) in _CAUSE_NO_ERROR else self.tell(error.code, error.msg_id)
        return self._counted(actions)

    def refused(
        self, refusal: Refusal, incoming: Incoming, trust: TrustOutcome | None = None
    ) -> list[Action]:
        """Refuse what the peer's lane did not let in, in steps 10 and 11; `trust` is what became of its trust."""
        message = incoming.message
        error = _KINDS[refusal.kind](
            "the peer's lane does not let it in",
            code=refusal.code,
            msg_id=message.msg_id,
            peer=self._facts.peer,
            field=refusal.field,
            retry_after_ms=refusal.retry_after_ms,
        )
        self._report(error, incoming.digest, message.type)
        actions: list[Action] = []
        if not refusal.silent and message.type not in _CAUSE_NO_ERROR:
            actions = self.tell(error.code, message.msg_id, refusal.retry_after_ms)
        if refusal.code == "equivocation":
            self._keep_both(incoming, trust)
            actions.append(Close("blacklisted"))
        return self._counted(actions) if refusal.kind == "InvalidEnvelopeError" else actions

    def duplicate(self, incoming: Incoming) -> None:
        """Report what was handled before: no error, no blame."""
        self._context.emit(
            "replay_detected",
            severity="debug",
            peer=self._facts.peer,
            session_id=self._facts.session_id,
            protocol="cip",
            msg_id=incoming.message.msg_id,
            status="duplicate",
            digest=incoming.digest,
        )

    def bad_response(self, incoming: Incoming, trust: TrustOutcome | None) -> None:
        """Report a response that proves nothing (HS-6); the lane has drawn the consequence, `trust`."""
        self._keep(trust, incoming.digest, incoming.envelope.data)
        self._context.emit(
            "auth_failure",
            severity="warning",
            peer=self._facts.peer,
            session_id=self._facts.session_id,
            protocol="cip",
            msg_id=incoming.message.msg_id,
            error="HandshakeFailed",
            code="bad_response",
            type=incoming.message.type,
            digest=incoming.digest,
        )

    def _blame(self, error: SignatureMismatchError, data: bytes, digest: str, at_ms: int) -> list[Action]:
        """Charge the session's proven peer, and nobody whom the bytes name (VAL-4)."""
        size = len(data) if self._context.evidence.room(self._facts.peer, len(data)) else None
        evidence = (cited_envelope(digest, error.msg_id, size),)
        newcomer_allowed = self._context.trust.newcomer_allowed(at_ms)
        command: TrustCommand
        if error.code == "identity":
            command = MaliciousEvidence(
                at_ms=at_ms, reason="foreign_sender", evidence=evidence, newcomer_allowed=newcomer_allowed
            )
        else:
            command = AuthFailure(
                at_ms=at_ms,
                session_id=self._facts.session_id,
                reason="signature",
                evidence=evidence,
                newcomer_allowed=newcomer_allowed,
            )
        self._keep(self._peer.lane.handle(command).trust, digest, data)
        actions = [] if _type_of(data) in _CAUSE_NO_ERROR else self.tell(error.code, error.msg_id)
        return [*actions, Close("auth_failure")]

    def _keep(self, trust: TrustOutcome | None, digest: str, data: bytes) -> None:
        """Keep evidence that an event says is kept; of a stranger nothing is recorded, and so nothing kept."""
        if trust is None or trust.event is None:
            return
        cited = next((cited for cited in trust.event.evidence if cited.blake3 == digest), None)
        if cited is not None and cited.blob is None:
            self._context.evidence.refused += 1
        elif cited is not None:
            self._context.evidence.put(self._facts.peer, digest, data)

    def _keep_both(self, incoming: Incoming, trust: TrustOutcome | None) -> None:
        """Keep both halves of an equivocation, the first if it is still held."""
        self._keep(trust, incoming.digest, incoming.envelope.data)
        first = self._peer.recent.get(incoming.message.msg_id)
        if first is not None:
            self._keep(trust, blake3_hex(first), first)

    def _counted(self, actions: list[Action]) -> list[Action]:
        """Count a fault of the session's peer; too many in a minute close the session (VAL-4)."""
        if self._peer.faults.count(self._context.clock.monotonic_ns()):
            actions.append(Close("too_many_faults"))
        return actions

    def _report(self, error: Web4Error, digest: str | None, type_name: str | None, **more: Any) -> None:
        kind = "envelope_rejected"
        if isinstance(error, MeshEnvelopeError):
            kind, more = (
                "mesh_dropped",
                {**more, "reason": "expired" if error.code == "expired" else "invalid"},
            )
        elif isinstance(error, ReplayError):
            kind = "replay_detected"
        elif error.code == "signature":
            kind = "auth_failure"
        self._context.emit(
            kind,
            severity="warning",
            peer=self._facts.peer,
            session_id=self._facts.session_id,
            protocol="cip",
            msg_id=error.msg_id,
            error=type(error).__name__,
            code=error.code,
            field=error.field,
            type=type_name,
            digest=digest,
            **more,
        )


def _type_of(data: bytes) -> str | None:
    """The type that a refused envelope names, if it has a readable one."""
    try:
        return envelopes.parse(data, max_bytes=envelopes.LARGEST_MAX_BYTES).type
    except InvalidEnvelopeError:
        return None
