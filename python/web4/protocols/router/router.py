"""`ProtocolRouter`: every message that was let in goes to the handlers of its type (section 14, WEB-6)."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.foundation.errors import Web4Error
from web4.foundation.events import no_events
from web4.journal.errors import JournalError
from web4.protocols.cip.lane_errors import LANE_ERRORS
from web4.protocols.router.chain import Chain, Turn
from web4.protocols.router.dead_letters import DeadLetter, DeadLetters
from web4.protocols.router.errors import HandlerError
from web4.protocols.router.handlers import Handlers, Registration, guards
from web4.protocols.router.matrix import MATRIX
from web4.protocols.router.options import RouterOptions
from web4.protocols.router.peer_queues import PeerQueues
from web4.protocols.router.results import RouteResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.foundation.events import Emitter
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.router.ports import RouterHost
    from web4.protocols.router.results import Handler
    from web4.trust import TrustState

_BATCH: Final = 64
"""Messages taken at once: what came together costs one turn of the scheduler."""


class ProtocolRouter:
    """Gives messages to handlers, and does what they say.

        router = ProtocolRouter(cip)
        router.register("cip", "FACT_PROPOSE", ledger.propose, idempotent=True)
        nursery.start_soon(router.run)

    The messages of one peer are handled in order, those of different peers at the same time. A handler that fails
    or hangs costs its own message only. A message's trust effects are applied and its outputs are sent, then its
    peer's lane records what became of it. Until then a crash lets it come again, so what handlers do on other lanes
    is idempotent by `msg_id`.

    Args:
        host: The node: a `CipRuntime`.
        options: See `RouterOptions`.
        emit: Gets the events (OBS-2).
    """

    def __init__(
        self, host: RouterHost, *, options: RouterOptions | None = None, emit: Emitter = no_events
    ) -> None:
        self.host = host
        self.options = RouterOptions() if options is None else options
        self.emit = emit
        self.dead_letters = DeadLetters(self.options.dead_letters, emit)
        """Messages on which a handler failed for good; the newest are listed."""
        self.running = trio.Event()
        """Set once `run` has begun."""
        self._handlers = Handlers()
        self._chain = Chain(self.options, emit)
        self._queues = PeerQueues(self.options, handle=self._handle, give_up=self._give_up, emit=emit)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def register(
        self,
        protocol: str,
        type_name: str,
        handler: Handler,
        *,
        min_trust: TrustState = "unknown",
        capability: str | None = None,
        idempotent: bool = False,
        guard: bool | None = None,
        limit_ms: int | None = None,
    ) -> None:
        """Append a handler to those of a type (ROUTE-1). It gets what passed validation and the gate.

        Args:
            protocol: `cip`, `hcp`, `lip` or `mesh`.
            type_name: Of the message.
            handler: Awaited with each delivery.
            min_trust: What the peer's trust has to be when the handler is asked. It only asks for more than TRUST-6.
            capability: Has to be agreed with the peer.
            idempotent: It may be asked again with the same message: after it failed, at most 3 times.
            guard: Nobody after it sees a message that it failed on. Left out, that is so where consent decides:
                HCP_INTENT, HCP_CONTEXT, HCP_DECISION, HCP_FEEDBACK.
            limit_ms: How long it may take for one message; `RouterOptions.handler_ms` when left out.

        Raises:
            RegistrationError: `unknown_type`; `not_routed` for what never comes to a handler.
        """
        registration = Registration(
            name=getattr(handler, "__qualname__", type(handler).__name__),
            handler=handler,
            min_trust=min_trust,
            capability=capability,
            idempotent=idempotent,
            guard=guards(type_name) if guard is None else guard,
            limit_ms=self.options.handler_ms if limit_ms is None else limit_ms,
        )
        self._handlers.add(protocol, type_name, registration)

    @property
    def waiting(self) -> int:
        """Messages that were taken from the inbox and are not through their handlers."""
        return len(self._queues)

    async def run(self) -> None:
        """Handle what comes until the inbox is closed, or this is cancelled. Once at a time.

        Handlers that run then are cancelled; their messages are not settled, and come again after a restart.
        """
        async with self._queues.open() as queues:
            self.running.set()
            inbox = self.host.inbox
            while (delivery := await inbox.take()) is not None:
                queues.put(delivery)
                for another in inbox.take_more(_BATCH):
                    queues.put(another)

    async def route(self, delivery: Delivery) -> RouteResult:
        """Handle one message, its rest included, and say what became of it (ROUTE-2).

        Cancellation: its handlers are cancelled, and it is not settled.
        """
        turn = Turn(delivery)
        await self._first(turn)
        if turn.rests:
            await self._rest(turn)
        return RouteResult(
            status=turn.status,
            transition=tuple(event for event in turn.transitions.values() if event is not None),
            outputs=tuple(turn.sent),
            error=turn.error,
        )

    async def resume(self, delivery: Delivery) -> RouteResult:
        """Route a message once more that a handler deferred and lets pass now, such as one that waited for a human.

        As `route`, whatever is remembered of it.
        """
        self._known.pop((delivery.peer, delivery.msg_id), None)
        return await self.route(delivery)

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run something beside the messages, until the router ends: work that may outlive its message's rest.

        Raises:
            RuntimeError: The router does not run.
        """
        self._queues.start_soon(function)

    # --- one message of a peer's queue ------------------------------------------------------------------

    async def _handle(self, turn: Turn) -> None:
        """Handle a message in its turn. What goes on after that lets the peer's next message pass."""
        try:
            await self._first(turn)
        finally:
            if not turn.abandoned:
                self.host.inbox.release(turn.delivery)
        if turn.rests and not turn.abandoned:
            self._queues.start_soon(partial(self._rest, turn))

    async def _give_up(self, stuck: Turn) -> None:
        """Conclude a message whose handler runs on and was given up: what it gives is not heard."""
        turn = Turn(stuck.delivery)
        turn.fail("", HandlerError("a handler neither ended nor yielded", code="handler_timeout"))
        self.host.inbox.release(turn.delivery)
        await self._settle(turn)

    # --- the way of a message ---------------------------------------------------------------------------

    async def _first(self, turn: Turn) -> None:
        """Ask the handlers, apply what they say, and settle unless there is a rest."""
        delivery = turn.delivery
        key = (delivery.peer, turn.msg_id)
        if key in self._known:
            turn.status = "duplicate"
            self._told(turn)
            return
        self._remember(key)
        registrations = self._handlers.of(delivery.type)
        if not registrations and MATRIX[delivery.type].way != "router":
            self._told(turn)  # an ERROR: the session has dealt with it
            return
        if not registrations:
            turn.status = "unhandled"
            await self._settle(turn)
            return
        turn.trust = self.host.trust.state(delivery.peer)
        if self._handlers.ask_for_capabilities(delivery.type):
            agreement = self.host.agreement(delivery.peer)
            turn.capabilities = () if agreement is None else agreement.capabilities
        try:
            await self._chain.run(turn, registrations)
        except BaseException:
            self._known.pop(key, None)  # cancelled: it may come again
            raise
        if not turn.abandoned:
            await self._conclude(turn)

    async def _rest(self, turn: Turn) -> None:
        try:
            await self._chain.finish(turn)
        except JournalError as error:
            self._unsettled(turn, error)
            return
        except BaseException:
            self._known.pop((turn.delivery.peer, turn.msg_id), None)
            raise
        await self._conclude(turn)

    async def _conclude(self, turn: Turn) -> None:
        """Apply what handlers said; then, if nothing is left to do, settle."""
        try:
            await self._apply(turn)
            if not turn.rests:
                await self._settle(turn)
        except Exception as error:
            self._unsettled(turn, error)

    async def _apply(self, turn: Turn) -> None:
        """Do what was not done yet of what handlers said: trust first, so that outputs are judged by it.

        Raises:
            JournalError: Nothing can be made durable now.
        """
        for peer, command in turn.trusts.items():
            if peer in turn.transitions:
                continue
            turn.transitions[peer] = None
            try:
                # A sender chooses its ids: without its name it could use up the cause of another's message.
                cause = f"{turn.delivery.peer}:{turn.msg_id}"
                outcome = await self.host.trust_command(peer, command, cause=cause)
            except LANE_ERRORS:
                raise
            except Web4Error as error:
                turn.fail("trust", error)
            else:
                turn.transitions[peer] = outcome.event
        outputs, turn.outputs = turn.outputs, []
        for output in outputs:
            try:
                await self.host.send(
                    output.peer,
                    output.payload,
                    corr_id=output.corr_id or turn.delivery.corr_id,
                    about=output.about,
                )
            except LANE_ERRORS:
                raise
            except Web4Error as error:
                turn.fail("output", error)
            else:
                turn.sent.append(output)

    async def _settle(self, turn: Turn) -> None:
        if turn.status == "duplicate":
            return
        try:
            await self.host.settled(turn.delivery, turn.status)
        except Exception as error:
            self._unsettled(turn, error)
            return
        if turn.status == "failed":
            assert turn.error is not None
            self.dead_letters.add(DeadLetter(turn.delivery, turn.handler or "", turn.error.code))
        self._told(turn)

    # --- what is told and remembered --------------------------------------------------------------------

    def _told(self, turn: Turn) -> None:
        """Exactly one event for what became of a message (VAL-3)."""
        if self.emit is no_events:
            return
        kind = {"unhandled": "envelope_unhandled", "refused": "envelope_rejected"}.get(turn.status)
        about: dict[str, Any] = {"status": turn.status, "admission": turn.delivery.admission}
        moved = [f"{event.from_} {event.to}" for event in turn.transitions.values() if event and event.moved]
        if moved:
            about["transition"] = ", ".join(moved)
        if kind == "envelope_rejected" and turn.error is not None:
            about = {"code": turn.error.code, "error": type(turn.error).__name__, "where": "router"}
        elif kind == "envelope_unhandled":
            about = {}
        self.emit(
            kind or "envelope_routed",
            severity="info" if kind is None and turn.status != "failed" else "warning",
            peer=turn.delivery.peer,
            protocol=turn.delivery.protocol,
            msg_id=turn.msg_id,
            corr_id=turn.delivery.corr_id,
            state=turn.status,
            type=turn.delivery.type,
            **about,
        )

    def _unsettled(self, turn: Turn, error: Exception) -> None:
        """What follows cannot be made durable: the message stays open on its lane, and comes after a restart."""
        self._known.pop((turn.delivery.peer, turn.msg_id), None)
        turn.status, turn.error = "failed", error if isinstance(error, Web4Error) else None
        self.emit(
            "error",
            severity="error",
            peer=turn.delivery.peer,
            msg_id=turn.msg_id,
            where="journal",
            code=getattr(error, "code", "unknown"),
            error=type(error).__name__,
        )

    def _remember(self, key: tuple[str, str]) -> None:
        """Remember a message; its lane does so for longer, this is for what comes twice in one life (ROUTE-4)."""
        self._known[key] = None
        if len(self._known) > self.options.remembered:
            self._known.popitem(last=False)
