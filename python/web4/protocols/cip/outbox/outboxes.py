"""The outboxes of a node: what is queued, how it ended, what is settled, and what is delivered again (section 18)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from web4.foundation.errors import EnvelopeError
from web4.protocols.cip.actions import Deliver, Delivery, Report
from web4.protocols.cip.intents import IntentAnswer, asked, defer
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.cip.outbox.answering import answer_intent
from web4.protocols.cip.outbox.bodies import enqueue
from web4.protocols.cip.outbox.commands import Conclude
from web4.protocols.errors import OutboxFull
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import Party
from web4.protocols.messages.vocabulary import TYPES
from web4.trust import TrustViolationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.inbox import Inbox
    from web4.protocols.cip.outbox.entries import Conclusion, Queued, SettledStatus, Taken
    from web4.protocols.cip.peer import Peer
    from web4.protocols.cip.peers import Peers
    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.vocabulary import AgentPayload

_TEND_SECONDS: Final = 3_600
"""How often is looked for what is too old, at the least: an hour among five days."""
_TOGETHER_SECONDS: Final = 0.1
"""What is settled within so long is one decision and one commit, unless messages that come take it along before."""
_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    one.name: msgspec.json.Decoder(one.envelope) for one in TYPES.values() if one.durable
}


class Outboxes:
    """What `CipRuntime` does for messages that must not be lost.

    Args:
        context: What the node's sessions share.
        peers: The peers.
        inbox: Where messages wait for the application.
        accept_intent: Asks the application about an INTENT.
    """

    def __init__(
        self,
        context: CipContext,
        peers: Peers,
        inbox: Inbox,
        accept_intent: Callable[[Delivery], Awaitable[IntentAnswer]],
    ) -> None:
        self._context = context
        self._peers = peers
        self._inbox = inbox
        self._accept_intent = accept_intent
        self._to_settle: set[str] = set()
        self._settled = 0
        self._work = trio.Event()

    # --- out --------------------------------------------------------------------------------------------

    async def send(
        self,
        fingerprint: str,
        payload: AgentPayload,
        *,
        corr_id: str | None = None,
        about: About | None = None,
        msg_id: str | None = None,
    ) -> str:
        """Queue a message; its msg_id, once that is durable. See `CipRuntime.send`."""
        context, peers = self._context, self._peers
        peer = peers.need(fingerprint)
        peers.use(fingerprint)
        try:
            if not peer.lane.ready:
                await peer.lane.load()
            command, body = enqueue(
                context.identity,
                payload,
                agent_id=context.options.agent_id,
                receiver=Party(agent_id=peer.agent_id, fingerprint=fingerprint),
                msg_id=msg_id or context.ids.uuid4(),
                at_ms=context.clock.wall_ms(),
                max_bytes=context.options.envelope_bytes,
                corr_id=corr_id,
                about=about,
            )
            if command.blob is not None:
                peer.lane.keep(command.blob, body)
            outcome = await peer.lane.ask(command)
            if outcome.refusal is not None:
                raise TrustViolationError(
                    "the peer is blacklisted", code=outcome.refusal.code, peer=fingerprint
                )
            if outcome.queueing == "full":
                raise OutboxFull("too much waits for this peer", code="outbox_full", peer=fingerprint)
        finally:
            peers.done(fingerprint)
        return command.msg_id

    async def entries(self, fingerprint: str) -> list[Queued]:
        """What waits for a peer, oldest first."""
        async with self._peers.using(fingerprint) as peer:
            peer.lane.flush()
            await peer.lane.durable()
            return sorted(peer.lane.state.outbox.entries.values(), key=_number)

    async def concluded(self, fingerprint: str, msg_id: str) -> Conclusion | None:
        """Wait until an entry has ended; how, or None if nobody knows of it any more."""
        held = self._peers.get(fingerprint)
        if held is not None:  # the usual way: a peer with entries stays
            held.lane.flush()  # it may have been asked for in this very turn
            if held.queue.holds(msg_id):
                how = await held.queue.ended(msg_id)
                return how or held.lane.state.outbox.concluded.get(msg_id)
            if held.lane.settled:
                await trio.lowlevel.checkpoint_if_cancelled()
                return held.lane.state.outbox.concluded.get(msg_id)
        async with self._peers.using(fingerprint) as peer:
            peer.lane.flush()
            await peer.lane.durable()
            if peer.queue.holds(msg_id):
                await peer.queue.ended(msg_id)
            return peer.lane.state.outbox.concluded.get(msg_id)

    async def purge(self, fingerprint: str, where: Callable[[Queued], bool], reason: str) -> tuple[str, ...]:
        """End the entries that `where` says; their ids, once that is durable."""
        async with self._peers.using(fingerprint) as peer:
            peer.lane.flush()  # what was asked for before is purged, too
            entries = sorted(peer.lane.state.outbox.entries.values(), key=_number)
            msg_ids = tuple(one.msg_id for one in entries if where(one))
            if msg_ids:
                at_ms = self._context.clock.wall_ms()
                peer.lane.handle(Conclude(at_ms=at_ms, msg_ids=msg_ids, outcome="purged", reason=reason))
            await peer.lane.durable()
            return msg_ids

    # --- in ---------------------------------------------------------------------------------------------

    def settle(self, delivery: Delivery, status: SettledStatus) -> int:
        """The application is through with a message; that is durable with the lane's next commit.

        Returns:
            How many were settled so far.
        """
        self._settled += 1
        message, fingerprint = delivery.message, delivery.peer
        if TYPES[message.type].durable:
            self._peers.need(fingerprint).to_settle.setdefault(status, []).append(message.msg_id)
            self._to_settle.add(fingerprint)
            if not self._work.is_set():
                self._work.set()
        return self._settled

    async def deliver_again(self, fingerprint: str) -> None:
        """Deliver what was taken and is with nobody: after a restart, or when a session ended in between (OUT-3)."""
        try:
            async with self._peers.using(fingerprint) as peer:
                # Only these are durable then: what a session takes in meanwhile, it delivers itself.
                taken = sorted(peer.lane.state.taken.messages.values(), key=_number)
                await peer.lane.durable()
                for one in taken:
                    if one.msg_id not in peer.given and one.msg_id in peer.lane.state.taken.messages:
                        peer.given.add(one.msg_id)
                        await self._again(peer, one)
        except LANE_ERRORS as error:
            self._report(fingerprint, "deliver_again", error)

    async def _again(self, peer: Peer, one: Taken) -> None:
        data = await peer.lane.blob(one.blob) if one.blob is not None else (one.envelope or "").encode()
        try:
            message = _DECODERS[one.type].decode(data)
        except (msgspec.MsgspecError, KeyError) as error:
            self._report(peer.fingerprint, "taken", error)
            peer.to_settle.setdefault("failed", []).append(one.msg_id)
            self._to_settle.add(peer.fingerprint)
            return
        peer.agent_id = message.sender.agent_id
        delivery = Delivery(
            peer=peer.fingerprint,
            trust=one.trust,
            admission=one.admission,
            message=message,
            digest=one.digest,
            size=one.size,
            received_ms=one.at_ms,
        )
        if isinstance(message, m.IntentEnvelope) and not one.answered:
            await self._ask(peer, delivery)
        else:
            self._inbox.put_again(delivery)

    async def _ask(self, peer: Peer, delivery: Delivery) -> None:
        """Ask about an INTENT that has no answer yet, once the application is there to be asked."""
        await self._inbox.wanted.wait()
        options = self._context.options
        answer = await asked(
            self._accept_intent,
            delivery,
            within_ms=options.intent_deadline_ms,
            slow=defer(options.busy_retry_ms, "slow"),
            failed=lambda error: self._report(peer.fingerprint, "accept_intent", error),
        )
        try:
            actions = answer_intent(
                self._context, peer, delivery, answer.status, answer.reason, answer.retry_after_ms
            )
        except EnvelopeError as error:
            self._report(peer.fingerprint, "accept_intent", error)
            actions = answer_intent(self._context, peer, delivery, "refused", "handler_failed")
        await peer.lane.durable()
        for action in actions:
            if isinstance(action, Report):
                self._context.emit(action.kind, **action.fields)
            elif isinstance(action, Deliver):
                self._inbox.put_again(action.delivery)

    # --- tending ----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Settle what the application is through with, and let expire what is too old (OUT-5)."""
        pause = min(_TEND_SECONDS, self._context.options.outbox.ttl_ms / 10_000)
        due = trio.current_time() + pause
        while True:
            with trio.move_on_at(due):
                await self._work.wait()
                await trio.sleep(_TOGETHER_SECONDS)
            self._work = trio.Event()
            await self.settle_all()
            if trio.current_time() >= due:
                due = trio.current_time() + pause
                await self._expire()

    async def settle_all(self) -> None:
        """Make durable what was settled."""
        for fingerprint in list(self._to_settle):
            try:
                async with self._peers.using(fingerprint) as peer:
                    peer.settle_now(self._context.clock.wall_ms())
                    await peer.lane.durable()
                    if not peer.to_settle:
                        self._to_settle.discard(fingerprint)
            except LANE_ERRORS as error:
                self._report(fingerprint, "settled", error)

    async def _expire(self) -> None:
        now_ms, ttl_ms = self._context.clock.wall_ms(), self._context.options.outbox.ttl_ms
        for fingerprint in self._peers:
            held = self._peers.get(fingerprint)
            if held is None:
                continue
            entries = held.lane.state.outbox.entries.values()
            old = tuple(one.msg_id for one in entries if one.at_ms + ttl_ms <= now_ms)
            if not old:
                continue
            try:
                async with self._peers.using(fingerprint) as peer:
                    peer.lane.handle(Conclude(at_ms=now_ms, msg_ids=old, outcome="expired"))
                    await peer.lane.durable()
            except LANE_ERRORS as error:
                self._report(fingerprint, "expire", error)

    def _report(self, peer: str, where: str, error: Exception) -> None:
        self._context.emit(
            "error",
            severity="error",
            peer=peer,
            where=where,
            error=type(error).__name__,
            code=getattr(error, "code", None),
        )


def _number(one: Queued | Taken) -> int:
    return one.number
