"""Running handlers and sending answers: the effects of the services' part of lane `server` (GRAPH-4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from msgspec import UNSET

from web4.actors.errors import ActorError
from web4.extensions.calls.kept_values import UnkeptError, kept, restored
from web4.foundation.digest import canonical
from web4.foundation.errors import Web4Error
from web4.journal.errors import BlobNotFoundError, CorruptJournalError, JournalError
from web4.mesh.services.catalogue import ServiceCall
from web4.mesh.services.errors import ServiceRefusal
from web4.mesh.services.service_logic import EndAnswer, EndService
from web4.protocols.messages.mesh import ServiceInvoke, ServiceResult

if TYPE_CHECKING:
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.journal.journal import Journal
    from web4.mesh.services.catalogue import Offered, ServiceCatalogue
    from web4.mesh.services.service_events import AnswerAsked, ServiceAsked, ServiceStatus

MAX_RESULT_BYTES: Final = 128 * 1024
"""Bytes of a result's JSON: it fits an envelope."""
_PAUSE_SECONDS: Final = 1.0
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


class SendService(Protocol):
    """How a node sends SERVICE_* to another, from end to end, through the outbox (OUT-1): `CipRuntime.send`."""

    async def __call__(
        self,
        peer: str,
        payload: ServiceInvoke | ServiceResult,
        *,
        msg_id: str,
        corr_id: str | None = None,
    ) -> str:
        """Queue it; durable when this returns.

        Args:
            peer: Fingerprint of the receiver.
            payload: What is said.
            msg_id: The envelope's id; it counts once (REP-3).
            corr_id: The call that it answers: the envelope's `reply_to`.
        """
        ...


class ServiceRunner:
    """Does what the services' part of lane `server` asks for.

    Args:
        catalogue: What is offered.
        send: Sends answers.
        clock: Where time comes from.
        emit: Gets `service_invoked` (OBS-2).
    """

    def __init__(
        self, catalogue: ServiceCatalogue, *, send: SendService, clock: Clock, emit: Emitter
    ) -> None:
        self._catalogue = catalogue
        self._send = send
        self._clock = clock
        self._emit = emit
        self.journal: Journal | None = None
        """Keeps large arguments and results; the owner of the lane sets it."""

    async def run(self, request: ServiceAsked) -> EndService:
        """Run the handler of a call until its deadline; whatever it does is in the answer.

        Cancellation: passes on to the handler; the lane concludes the call then.

        Raises:
            JournalError: The result could not be kept; the lane concludes the call as failed.
        """
        offered = self._catalogue.find(request.service, request.version)
        if isinstance(offered, str):  # withdrawn meanwhile
            return self._end(request, "refused", offered)
        try:
            args = await restored(self._journal(), request.args)
        except (BlobNotFoundError, CorruptJournalError):
            return self._end(request, "failed", "arguments_gone")
        call = ServiceCall(
            peer=request.peer,
            call_id=request.call_id,
            service=request.service,
            version=request.version,
            args=args,
            deadline_ms=request.deadline_ms,
        )
        status: ServiceStatus = "timeout"
        code, result = "deadline", None
        left = (request.deadline_ms - self._clock.wall_ms()) / 1_000
        with trio.move_on_after(max(0.0, left)) as scope:
            if left > 0:
                status, code, result = await self._handled(offered, call)
        if scope.cancelled_caught:
            return self._end(request, "timeout", "deadline")
        if status != "ok":
            return self._end(request, status, code)
        try:
            value = await kept(self._journal(), result)
        except UnkeptError:
            return self._end(request, "failed", "bad_result")
        return EndService(
            at=self._clock.wall_ms(),
            peer=request.peer,
            call_id=request.call_id,
            status="ok",
            result=value,
        )

    async def _handled(self, offered: Offered, call: ServiceCall) -> tuple[ServiceStatus, str, Any]:
        try:
            result: Any = await offered.service.handler(call)
        except ServiceRefusal as refusal:
            return "refused", refusal.code if _CODE.fullmatch(refusal.code) else "refused", None
        except Exception as error:  # a handler may raise anything; none of it leaves the node
            name = type(error).__name__
            self._emit("error", severity="error", peer=call.peer, task_id=call.call_id, error=name)
            return "failed", "handler_failed", None
        if not isinstance(result, dict) or offered.output.complaint(result) is not None:
            return "failed", "bad_result", None
        try:
            size = len(canonical(result))
        except (ValueError, TypeError, OverflowError, RecursionError):
            return "failed", "bad_result", None
        return ("ok", "", result) if size <= MAX_RESULT_BYTES else ("failed", "result_too_large", None)

    async def answer(self, request: AnswerAsked) -> EndAnswer:
        """Put the answer into the peer's outbox. While a journal does not take it, it is tried again.

        Cut off by the end of the node it stays open, and the next start does it: the answer's id is the same then.
        """
        self._emit(
            "service_invoked",
            severity="info" if request.status == "ok" else "warning",
            peer=request.peer,
            msg_id=request.call_id,
            protocol="mesh",
            state=request.status,
            service=request.service,
            code=request.code,
        )
        while True:
            try:
                payload = await self._payload(request)
                await self._send(request.peer, payload, msg_id=request.result_id, corr_id=request.call_id)
            except (JournalError, ActorError):
                await trio.sleep(_PAUSE_SECONDS)
            except Web4Error as error:  # the peer is blacklisted, its outbox is full
                return self._given(request, error.code)
            else:
                return self._given(request, None)

    async def _payload(self, request: AnswerAsked) -> ServiceResult:
        error = UNSET if request.code is None else request.code
        if request.result is None:
            return ServiceResult(status=request.status, error=error)
        try:
            result = await restored(self._journal(), request.result)
        except (BlobNotFoundError, CorruptJournalError):
            return ServiceResult(status="failed", error="result_gone")
        return ServiceResult(status=request.status, result=result, error=error)

    def _journal(self) -> Journal:
        if self.journal is None:
            raise RuntimeError("services have no journal yet: call bind")
        return self.journal

    def _end(self, request: ServiceAsked, status: ServiceStatus, code: str) -> EndService:
        at = self._clock.wall_ms()
        return EndService(at=at, peer=request.peer, call_id=request.call_id, status=status, code=code)

    def _given(self, request: AnswerAsked, code: str | None) -> EndAnswer:
        return EndAnswer(at=self._clock.wall_ms(), peer=request.peer, call_id=request.call_id, code=code)
