"""What this agent asked others, and waits to hear (LOOP-5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from msgspec import UNSET

from web4.agent.errors import AgentError
from web4.agent.untrusted import origin_of
from web4.foundation.codec import ENCODER
from web4.protocols.lip.untrusted import UntrustedText
from web4.protocols.messages.cip import Reply

if TYPE_CHECKING:
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.messages.cip import ReplyStatus

_FIRST: Final = "accepted"
"""The only status after which another REPLY comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a peer concluded what it was asked.

    Args:
        status: `done`, `failed`, `refused`, or `deferred`: then ask again in the same conversation (CIP-4).
        reason: The peer's words.
        content: What it gave; `.json()` reads it.
        retry_after_ms: With `deferred`.
        corr_id: The conversation.
    """

    status: ReplyStatus
    reason: UntrustedText
    content: UntrustedText | None
    retry_after_ms: int | None
    corr_id: str | None


class Questions:
    """Questions by the msg_id of their INTENT.

    Args:
        most: How many may wait at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[tuple[str, str], tuple[trio.Event, list[Answer]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, peer: str, msg_id: str) -> None:
        """Wait for the answer to a question, before it is sent.

        Raises:
            AgentError: `too_many_questions`.
        """
        if len(self._waiting) >= self._most:
            raise AgentError("wait for some answers first", code="too_many_questions", peer=peer)
        self._waiting[peer, msg_id] = (trio.Event(), [])

    async def answered(self, peer: str, msg_id: str) -> Answer:
        """Wait for the answer; cancelled, it is not waited for any more."""
        event, answers = self._waiting[peer, msg_id]
        try:
            await event.wait()
            return answers[0]
        finally:
            self.drop(peer, msg_id)

    def drop(self, peer: str, msg_id: str) -> None:
        """Wait no longer."""
        self._waiting.pop((peer, msg_id), None)

    def hear(self, delivery: Delivery) -> bool:
        """Take a REPLY to one of the questions; whether it was one. Only who was asked can answer."""
        reply = delivery.message.payload
        if not isinstance(reply, Reply):
            return False
        waiting = self._waiting.get((delivery.peer, reply.in_reply_to))
        if waiting is None:
            return False
        if reply.status != _FIRST:
            origin = origin_of(delivery)
            content = None
            if reply.content is not UNSET:
                content = UntrustedText(text=ENCODER.encode(reply.content).decode(), origin=origin)
            waiting[1].append(
                Answer(
                    status=reply.status,
                    reason=UntrustedText(text=reply.reason, origin=origin),
                    content=content,
                    retry_after_ms=None if reply.retry_after_ms is UNSET else reply.retry_after_ms,
                    corr_id=delivery.corr_id,
                )
            )
            waiting[0].set()
        return True
