"""Asks the application about INTENTs on behalf of a session, and queues what it answers (LOOP-5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from web4.foundation.errors import EnvelopeError
from web4.protocols.cip.actions import Deliver, Report
from web4.protocols.cip.intents import asked, defer

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.cip.actions import Action, AskIntent, Delivery
    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.inbox import Inbox
    from web4.protocols.cip.intents import AcceptIntent
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.places import Places
    from web4.protocols.cip.session import CipSession


class Questions:
    """Asks for one session.

    Args:
        context: What the node's sessions share.
        peer: Who asks.
        session: The session.
        inbox: Where an accepted INTENT waits.
        places: What the session holds in it.
        accept_intent: Whom to ask.
        over: Whether the session was closed meanwhile.
    """

    def __init__(
        self,
        context: CipContext,
        peer: Peer,
        session: CipSession,
        *,
        inbox: Inbox,
        places: Places,
        accept_intent: AcceptIntent,
        over: Callable[[], bool],
    ) -> None:
        self._context = context
        self._peer = peer
        self._session = session
        self._inbox = inbox
        self._places = places
        self._accept_intent = accept_intent
        self._over = over

    async def ask(self, action: AskIntent) -> None:
        """Let the application decide on an INTENT, and tell the peer.

        Raises:
            JournalError, ActorError: The lane does not take the answer: it is asked about again later.
        """
        msg_id = action.delivery.msg_id
        self._peer.given.add(msg_id)
        try:
            answered = await self._decided(action.delivery)
            self._places.release([action])
            await self._peer.lane.durable()
        finally:
            if msg_id in self._peer.lane.state.taken.messages:
                self._peer.given.discard(msg_id)  # unless it is delivered below, it is asked about again
        for answer in answered:
            if isinstance(answer, Report):
                self._context.emit(answer.kind, **answer.fields)
            elif isinstance(answer, Deliver):
                self._peer.given.add(msg_id)
                self._inbox.put_again(answer.delivery)

    async def _decided(self, delivery: Delivery) -> list[Action]:
        """Ask the application, and answer as it says."""
        options = self._context.options
        answer = await asked(
            self._accept_intent,
            delivery,
            within_ms=options.intent_deadline_ms,
            slow=defer(options.busy_retry_ms, "slow"),
            failed=partial(self._report, delivery.peer),
        )
        if self._over():
            return []  # closed meanwhile: of a peer that was blacklisted nothing more is taken in (TRUST-8)
        if answer.status == "accepted" and not self._inbox.room(delivery.peer):
            answer = defer(options.busy_retry_ms, "busy")
        answering = self._session.answer_intent
        try:
            return answering(delivery, answer.status, answer.reason, answer.retry_after_ms)
        except EnvelopeError as error:  # a reason too long, a negative time: nothing that can be sent
            self._report(delivery.peer, error)
            return answering(delivery, "refused", "handler_failed")

    def _report(self, peer: str, error: Exception) -> None:
        self._context.emit(
            "error", severity="error", peer=peer, where="accept_intent", error=type(error).__name__
        )
