"""What an application says through `CipRuntime`, and learns of what became of it (WEB-6, section 18)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Literal

import trio
from msgspec import UNSET

from web4.protocols.errors import NotConnectedError
from web4.protocols.messages import cip as m
from web4.protocols.messages.vocabulary import type_of
from web4.trust import TrustViolationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.cip.actions import Delivery
    from web4.protocols.cip.context import CipContext
    from web4.protocols.cip.link import Link
    from web4.protocols.cip.outbox.entries import Conclusion, Queued, SettledStatus
    from web4.protocols.cip.outbox.outboxes import Outboxes
    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.fields import JsonObject
    from web4.protocols.messages.vocabulary import AgentPayload


_SETTLED_AT_ONCE: Final = 64
"""After so many others have their turn: a turn of the scheduler for each costs as much as handling it."""


class Speaking(ABC):
    """The part of `CipRuntime` that sends."""

    _context: CipContext
    _outboxes: Outboxes

    @abstractmethod
    def _best(self, peer: str) -> Link | None: ...

    async def send(
        self,
        peer: str,
        payload: AgentPayload,
        *,
        corr_id: str | None = None,
        about: About | None = None,
        msg_id: str | None = None,
    ) -> str:
        """Send any message but those of the handshake; its msg_id. `about` is what HCP and LIP say beside the payload.

        What an outbox sends (OUT-1) is queued, connected or not, and this returns once that is durable: it is sent,
        over restarts of both nodes, until `concluded` tells how it ended. Telemetry is sent at once and once.

        Cancelled, a message may have been queued all the same; `outbox` tells.

        Args:
            peer: Fingerprint.
            payload: What is said.
            corr_id: The conversation.
            about: What HCP and LIP envelopes say beside the payload.
            msg_id: A UUID of version 4 that the caller has recorded; saying it again queues nothing new.

        Raises:
            OutboxFull: Too much waits for this peer (OUT-6).
            NotConnectedError: Telemetry, and there is no established session with the peer.
            TrustViolationError: `gate`: the peer is blacklisted. `capability`: what the type needs was not agreed on
                the session that there is.
            PayloadSchemaError: The payload does not fit its schema.
            InvalidEnvelopeError: `too_large`, or `syntax` for what has no canonical form.
            JournalError: The peer's lane does not take it; it was not queued.
            RttError: Telemetry, and the session ended meanwhile.
        """
        link, kind = self._best(peer), type_of(payload)
        if kind.durable:
            if link is not None and not link.allows(kind.name):
                raise TrustViolationError(f"{kind.name} was not agreed", code="capability", peer=peer)
            return await self._outboxes.send(peer, payload, corr_id=corr_id, about=about, msg_id=msg_id)
        if link is None:
            raise NotConnectedError("no established session with this peer", peer=peer)
        return await link.send(payload, corr_id=corr_id, about=about)

    async def send_intent(
        self,
        peer: str,
        *,
        goal: Literal["verify_knowledge", "ask", "learn", "propose_solution", "test_hypothesis"],
        topic: str,
        priority: Literal["low", "normal", "high"] = "normal",
        context: JsonObject | None = None,
        corr_id: str | None = None,
    ) -> str:
        """Ask a peer for something; its REPLYs come into the inbox under the same `corr_id`.

        Args:
            peer: Fingerprint.
            goal: What the asking is for.
            topic: What it is about.
            priority: How much it matters to the asker.
            context: Whatever the peer needs to know; an empty object when left out.
            corr_id: The conversation it belongs to; a new one when left out.

        Returns:
            The msg_id, which every REPLY names in `in_reply_to`.

        Raises:
            Everything that `send` raises.
        """
        intent = m.Intent(goal=goal, topic=topic, priority=priority, context=context or {})
        return await self.send(peer, intent, corr_id=corr_id or self._context.ids.uuid4())

    async def reply(
        self,
        delivery: Delivery,
        status: m.ReplyStatus,
        *,
        reason: str = "",
        content: JsonObject | None = None,
        retry_after_ms: int | None = None,
    ) -> str:
        """Conclude an INTENT that was accepted: REPLY(done or failed) in its conversation (LOOP-5).

        Raises:
            Everything that `send` raises.
        """
        reply = m.Reply(
            in_reply_to=delivery.message.msg_id,
            status=status,
            reason=reason,
            retry_after_ms=UNSET if retry_after_ms is None else retry_after_ms,
            content=UNSET if content is None else content,
        )
        corr_id = delivery.message.corr_id
        return await self.send(delivery.peer, reply, corr_id=None if corr_id is UNSET else corr_id)

    async def propose_fact(
        self, peer: str, fact: m.Fact, dmp_trace: m.DmpTrace, *, causal_links: tuple[str, ...] = ()
    ) -> str:
        """Propose a fact to a peer; its msg_id, by which votes refer to it.

        Raises:
            Everything that `send` raises.
        """
        return await self.send(peer, m.FactPropose(fact=fact, dmp_trace=dmp_trace, causal_links=causal_links))

    # --- the outbox (section 18) ------------------------------------------------------------------------

    async def outbox(self, peer: str) -> list[Queued]:
        """The envelopes that wait for a peer, oldest first.

        Raises:
            JournalError: Its lane cannot be read now.
        """
        return await self._outboxes.entries(peer)

    async def concluded(self, peer: str, msg_id: str) -> Conclusion | None:
        """Wait until an envelope has ended, and say how (OUT-5): delivered, refused, expired or purged.

        None if nothing is known of it: it was never queued, or ended before some thousands of others; the lane's
        history has it then. Cancelled, nothing has changed.

        Raises:
            JournalError: The peer's lane cannot be read now.
        """
        return await self._outboxes.concluded(peer, msg_id)

    async def purge(self, peer: str, where: Callable[[Queued], bool], reason: str) -> tuple[str, ...]:
        """End what waits for a peer as `purged(reason)`, as far as `where` says (HCP-3); the ids, once durable.

        Raises:
            JournalError: The peer's lane does not take it; nothing has changed.
        """
        return await self._outboxes.purge(peer, where, reason)

    async def settled(self, delivery: Delivery, status: SettledStatus = "handled") -> None:
        """Say that the application is through with a message from the inbox: it is not delivered again (OUT-3).

        It becomes durable with the next commit of the peer's lane; a crash before that delivers it once more, so
        handlers are idempotent by `msg_id`. Messages that no outbox sends need no settling.
        """
        if self._outboxes.settle(delivery, status) % _SETTLED_AT_ONCE:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
