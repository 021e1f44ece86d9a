"""What the peer's lane has to know about a message before it can decide (ACT-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from web4.foundation import envelope as envelopes
from web4.foundation.errors import InvalidEnvelopeError
from web4.protocols.cip.outbox.entries import INLINE_BYTES, TOGETHER_BYTES
from web4.protocols.cip.peer_state import Arrived, ArrivedTogether, Letter
from web4.protocols.cip.validation import Reception
from web4.protocols.messages import cip as m
from web4.protocols.messages.vocabulary import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from web4.protocols.cip.context import CipContext, SessionFacts
    from web4.protocols.cip.handshake import HandshakeState
    from web4.protocols.cip.handshake_driver import HandshakeDriver
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.validation import Incoming
    from web4.protocols.messages.vocabulary import AgentMessage, ChannelKind

    Keeps = Callable[[Incoming], tuple[int | None, int | None]]


_GAP_MS: Final = 5_000
"""A message that was put off is waited for so much longer than it was told to wait."""


class Arrivals:
    """Gathers it, for one session.

    Args:
        context: What all sessions of the node share.
        peer: What is held about the session's proven peer.
        facts: What RTT proved.
        driver: Reads what belongs to the handshake.
        keeps: See `Refusals.keeps`.
        may_answer: Whether one more REPLY could be queued.
    """

    def __init__(
        self,
        context: CipContext,
        peer: Peer,
        facts: SessionFacts,
        driver: HandshakeDriver,
        keeps: Keeps,
        may_answer: Callable[[], bool],
    ) -> None:
        self._context = context
        self._peer = peer
        self._facts = facts
        self._driver = driver
        self._keeps = keeps
        self._may_answer = may_answer
        self._reception: Reception | None = None
        self._gaps: dict[ChannelKind, tuple[str | None, int]] = {}
        """Which message is to come again on a channel, and until when others wait for it, by the monotonic clock."""

    def reception(self, channel: ChannelKind, at_ms: int) -> Reception:
        """What is true of every message of this session on `channel`."""
        known = self._reception
        if known is not None and known.now_ms == at_ms and known.channel == channel:
            return known  # of a batch, most come within a millisecond
        self._reception = Reception(
            local=self._context.identity.fingerprint,
            peer=self._facts.peer,
            public_key=self._facts.public_key,
            channel=channel,
            now_ms=at_ms,
            skew_ms=self._context.options.skew_ms,
            max_bytes=self._context.options.envelope_bytes,
        )
        return self._reception

    def arrived(self, incoming: Incoming, state: HandshakeState | None, at_ms: int) -> Arrived:
        """Gather what the lane has to know: digests, verdicts, and what other lanes say (ACT-1)."""
        message = incoming.message
        stranger = self._peer.trust == "unknown"
        keeps, keeps_first = self._keeps(incoming)
        data = incoming.envelope.data
        durable, size = TYPES[message.type].durable, len(data)
        long = durable and size > INLINE_BYTES
        answers_ours = not isinstance(message, m.ReplyEnvelope) or self._peer.was_sent(
            message.payload.in_reply_to
        )
        return Arrived(
            session_id=self._facts.session_id,
            at_ms=at_ms,
            type=message.type,
            msg_id=message.msg_id,
            content_digest=incoming.content_digest,
            digest=incoming.digest,
            timestamp_ms=incoming.timestamp_ms,
            handshake=None if durable else self._driver.read(incoming, state, at_ms),
            room=self._room_for(message) and not (durable and self._waits_for_another(message)),
            answers_ours=answers_ours,
            newest_state_ms=self._peer.newest_state_ms,
            overload_retry_ms=self._context.overload_retry_ms,
            newcomer_retry_ms=(self._context.trust.newcomer_retry_ms(at_ms) or None) if stranger else None,
            busy_retry_ms=self._context.options.busy_retry_ms,
            keeps=keeps,
            keeps_first=keeps_first,
            durable=durable,
            envelope=data.decode() if durable and not long else None,
            blob=f"b3:{incoming.digest}" if long else None,
            size=size,
            **({} if durable else _about(message)),
        )

    def may_come_together(self, message: AgentMessage, size: int) -> bool:
        """Whether a message may be decided with others: one of an outbox, short, and answered by its receipt alone."""
        return (
            TYPES[message.type].durable and size <= INLINE_BYTES and not isinstance(message, m.IntentEnvelope)
        )

    def together(self, run: Sequence[Incoming], at_ms: int) -> ArrivedTogether | None:
        """Gather what the lane has to know of the first of `run` that can be taken in; None if those are not several.

        None also while an earlier message is waited for: then it matters for each what became of those before.
        """
        if self._gaps and self._gap(TYPES[run[0].message.type].channel) is not None:
            return None
        taken, options = self._peer.lane.state.taken, self._context.options
        letters, size = list[Letter](), 0
        most = min(len(run), options.unsettled_per_peer - len(taken.messages))
        most_bytes = options.unsettled_bytes_per_peer - taken.bytes
        whole = sum([len(incoming.envelope.data) for incoming in run])
        roomy = self._context.room(self._facts.peer, len(run) - 1, whole)
        for incoming in run[:most] if most > 0 else ():
            message, data = incoming.message, incoming.envelope.data
            if size >= most_bytes or (letters and size + len(data) > TOGETHER_BYTES):
                break
            if not roomy and not self._context.room(self._facts.peer, len(letters), size):
                break
            if isinstance(message, m.ReplyEnvelope) and not self._peer.was_sent(message.payload.in_reply_to):
                break
            content, digest = incoming.content_digest, incoming.digest
            letters.append(Letter(message.type, message.msg_id, content, digest, len(data), data.decode()))
            size += len(data)
        if len(letters) < 2:
            return None
        return ArrivedTogether(session_id=self._facts.session_id, at_ms=at_ms, letters=tuple(letters))

    def _room_for(self, message: AgentMessage) -> bool:
        """Whether a message can be taken in. An INTENT is deferred by REPLY when the application is full (LOOP-1)."""
        if isinstance(message, m.IntentEnvelope):
            return self._may_answer()
        return self._context.room(self._facts.peer)

    def _waits_for_another(self, message: AgentMessage) -> bool:
        """Whether the application does not settle what it has (OUT-3), or an earlier message is to come again first."""
        taken, options = self._peer.lane.state.taken, self._context.options
        if (
            len(taken.messages) >= options.unsettled_per_peer
            or taken.bytes >= options.unsettled_bytes_per_peer
        ):
            return True
        gap = self._gap(TYPES[message.type].channel)
        return gap is not None and gap != (message.msg_id,)

    def put_off(self, channel: ChannelKind, msg_id: str | None, wait_ms: int) -> None:
        """A message has to come again: what follows on its channel waits, so that the order stays (OUT-4)."""
        gap = self._gap(channel)
        if gap is None or gap == (msg_id,):
            self._gaps[channel] = (msg_id, self._now_ms() + wait_ms + _GAP_MS)

    def dropped(self, data: bytes, channel: ChannelKind, wait_ms: int) -> None:
        """A message was dropped unread (LIM-2); one of an outbox comes again. Only the first of a gap is looked at."""
        if self._gap(channel) is not None:
            return None
        try:
            envelope = envelopes.parse(data, max_bytes=self._context.options.envelope_bytes)
        except InvalidEnvelopeError:
            return self.put_off(channel, None, wait_ms)  # nobody looks at more of that kind for a while
        kind = TYPES.get(envelope.type)
        if kind is not None and kind.durable:
            self.put_off(channel, envelope.msg_id, wait_ms)
        return None

    def came(self, message: AgentMessage) -> None:
        """What had to come again is through, or never will be."""
        channel = TYPES[message.type].channel
        if channel in self._gaps and self._gaps[channel][0] == message.msg_id:
            del self._gaps[channel]

    def _gap(self, channel: ChannelKind) -> tuple[str | None] | None:
        """The message that others wait for, if they do."""
        msg_id, until_ms = self._gaps.get(channel, (None, 0))
        return (msg_id,) if self._now_ms() < until_ms else None

    def _now_ms(self) -> int:
        return self._context.clock.monotonic_ns() // 1_000_000


def _about(message: AgentMessage) -> dict[str, Any]:
    """What a RECEIPT or an ERROR says about messages of ours."""
    if isinstance(message, m.ReceiptEnvelope):
        return {"receipts": message.payload.msg_ids}
    if not isinstance(message, m.ErrorEnvelope):
        return {}
    error = message.payload
    return {
        "about": None if error.msg_id is UNSET else error.msg_id,
        "about_code": error.code,
        "about_retry_ms": None if error.retry_after_ms is UNSET else error.retry_after_ms,
    }
