"""Calling services of other nodes: a call goes out, its answer finds whoever waits (GRAPH-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from msgspec import UNSET

from web4.mesh.services.errors import ServiceError
from web4.protocols.messages.mesh import ServiceInvoke

if TYPE_CHECKING:
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.mesh.services.running import SendService
    from web4.protocols.messages.mesh import ServiceResult, ServiceResultEnvelope

MAX_WAITING: Final = 1_024
"""Calls of this node that wait for an answer at once."""


class _Waiting:
    """A call that waits for its answer."""

    __slots__ = ("answer", "arrived", "peer")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.arrived = trio.Event()
        self.answer: ServiceResult | None = None


class ServiceCaller:
    """Sends calls and hands each answer to the call that it names.

    Args:
        send: Sends SERVICE_* through the outbox.
        clock: Where time comes from.
        ids: Where calls' ids come from.
        emit: Gets `envelope_unhandled` for answers that nobody waits for.
    """

    def __init__(self, send: SendService, *, clock: Clock, ids: IdSource, emit: Emitter) -> None:
        self._send = send
        self._clock = clock
        self._ids = ids
        self._emit = emit
        self._waiting: dict[str, _Waiting] = {}

    async def invoke(
        self, peer: str, service: str, version: str, args: dict[str, Any], *, deadline_seconds: float
    ) -> dict[str, Any]:
        """See `Services.invoke`."""
        if len(self._waiting) >= MAX_WAITING:
            raise ServiceError(f"{MAX_WAITING:,} calls wait for an answer", code="busy", peer=peer)
        call_id = self._ids.uuid4()
        waiting = self._waiting[call_id] = _Waiting(peer)
        payload = ServiceInvoke(
            service=service, version=version, args=args, deadline_ms=int(deadline_seconds * 1_000)
        )
        try:
            with trio.move_on_after(deadline_seconds):
                await self._send(peer, payload, msg_id=call_id)
                await waiting.arrived.wait()
        finally:
            del self._waiting[call_id]
        if waiting.answer is None:
            raise ServiceError(f"no answer of {service} in time", code="timeout", peer=peer)
        return _result(service, peer, waiting.answer)

    def answered(self, peer: str, envelope: ServiceResultEnvelope) -> bool:
        """Take in an answer; whether somebody here waits for it. Only the peer that was called answers."""
        reply_to = envelope.reply_to
        waiting = None if reply_to is UNSET else self._waiting.get(reply_to)
        if waiting is None or waiting.peer != peer or waiting.answer is not None:
            self._emit(
                "envelope_unhandled",
                severity="warning",
                peer=peer,
                msg_id=envelope.id,
                protocol="mesh",
                reason="no_call",
            )
            return False
        waiting.answer = envelope.payload
        waiting.arrived.set()
        return True


def _result(service: str, peer: str, answer: ServiceResult) -> dict[str, Any]:
    if answer.status == "ok":
        return {} if answer.result is UNSET else answer.result
    reason = None if answer.error is UNSET else answer.error
    raise ServiceError(f"{service}: {reason or answer.status}", code=answer.status, peer=peer, reason=reason)
