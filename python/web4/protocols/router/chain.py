"""One message through the handlers of its type: in order, each within its limit, none able to harm (ROUTE-5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from web4.journal.errors import JournalError
from web4.protocols.router.errors import HandlerError
from web4.protocols.router.foreign import shut_in
from web4.protocols.router.results import HandlerResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Sequence

    from web4.foundation.errors import Web4Error
    from web4.foundation.events import Emitter
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.router.handlers import Registration
    from web4.protocols.router.options import RouterOptions
    from web4.protocols.router.patience import Patience
    from web4.protocols.router.results import Output, RouteStatus
    from web4.trust import TrustCommand, TrustEvent, TrustState

    Rest = Callable[[], Awaitable[HandlerResult | None]]


@dataclass(slots=True)
class Turn:
    """One message while it is handled.

    Args:
        delivery: The message.
        trust: Of its peer, when it is handled.
        capabilities: Agreed with its peer.
    """

    delivery: Delivery
    trust: TrustState = "unknown"
    capabilities: Container[str] = ()
    status: RouteStatus = "handled"
    error: Web4Error | None = None
    handler: str | None = None
    """Who failed, refused or deferred."""
    outputs: list[Output] = field(default_factory=list)
    trusts: dict[str, TrustCommand] = field(default_factory=dict)
    """What handlers said about peers: the first of each (ROUTE-3)."""
    transitions: dict[str, TrustEvent | None] = field(default_factory=dict)
    """What became of that, by peer, as far as it was said on."""
    sent: list[Output] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    stuck_at: float = math.inf
    """When the handler that runs has not ended though it was cancelled, in Trio's time."""
    patience: Patience | None = None
    """Limits its handlers; without, each has a scope of its own."""
    abandoned: bool = False
    """Whether somebody else concluded it meanwhile."""

    @property
    def msg_id(self) -> str:
        """Of the message."""
        return self.delivery.msg_id

    def take(self, name: str, result: HandlerResult) -> bool:
        """Add what a handler gave; whether the next one is asked."""
        self.outputs += result.outputs
        for peer, command in result.trust:
            self.trusts.setdefault(peer, command)
        if result.rest is not None:
            self.rests.append(result.rest)
        if result.status == "handled":
            return True
        self.status, self.error, self.handler = result.status, result.error, name
        return False

    def fail(self, name: str, error: Web4Error) -> None:
        """A handler failed; the first failure is the one that is told."""
        if self.status != "failed":
            self.status, self.error, self.handler = "failed", error, name


class Chain:
    """Asks handlers.

    Args:
        options: See `RouterOptions`.
        emit: Gets an `error` event for each handler that fails.
    """

    def __init__(self, options: RouterOptions, emit: Emitter) -> None:
        self._options = options
        self._emit = emit

    async def run(self, turn: Turn, registrations: Sequence[Registration]) -> None:
        """Ask the handlers one after another; what came of it stands in `turn`.

        A refusal, a deferral, or a failing guard ends the chain. Any other failure does not keep the next handler
        from its work; the message is a dead letter all the same.
        """
        for one in registrations:
            refusal = one.refusal(turn.trust, turn.capabilities)
            if refusal is not None:
                turn.status, turn.error, turn.handler = "refused", refusal, one.name
                return
            try:
                result = await self._insist(turn, one)
            except HandlerError as error:
                turn.fail(one.name, error)
                if turn.abandoned or one.guard:
                    return
            else:
                if turn.abandoned or not turn.take(one.name, result):
                    return

    async def finish(self, turn: Turn) -> None:
        """Do the rest of what handlers began; it has no limit but its own.

        Raises:
            JournalError: What it did cannot be made durable now: the message stays open.
        """
        rests, turn.rests = turn.rests, []
        for rest in rests:
            try:
                turn.take("rest", _checked(await shut_in(rest)))
            except HandlerError as error:
                if isinstance(error.__cause__, JournalError):
                    raise error.__cause__ from None
                self._report(turn, "rest", error, again=False)
                turn.fail("rest", error)

    async def _insist(self, turn: Turn, one: Registration) -> HandlerResult:
        """Ask a handler, and again if it may be (ROUTE-5)."""
        retries = self._options.retries if one.idempotent else 0
        for attempt in range(retries + 1):
            try:
                return await self._ask(turn, one)
            except HandlerError as error:
                again = attempt < retries and not turn.abandoned
                self._report(turn, one.name, error, again=again)
                if not again:
                    raise
            await trio.sleep(self._options.retry_ms * 2**attempt / 1_000)
        raise AssertionError("the last attempt returns or raises")

    async def _ask(self, turn: Turn, one: Registration) -> HandlerResult:
        seconds = one.limit_ms / 1_000
        due = trio.current_time() + seconds
        turn.stuck_at = due + self._options.grace_ms / 1_000
        try:
            if turn.patience is not None:
                return _checked(await turn.patience.ask(due, one.handler, turn.delivery))
            with trio.move_on_after(seconds):
                return _checked(await shut_in(one.handler, turn.delivery))
        except TimeoutError:
            pass  # never the handler's own: that is a `HandlerError`
        finally:
            turn.stuck_at = math.inf
        raise HandlerError(f"{one.name} was not done in {seconds:g} s", code="handler_timeout")

    def _report(self, turn: Turn, name: str, error: HandlerError, *, again: bool) -> None:
        cause = error.__cause__
        self._emit(
            "error",
            severity="warning" if again else "error",
            peer=turn.delivery.peer,
            msg_id=turn.msg_id,
            where="handler",
            hook=name,
            code=error.code,
            error=type(error if cause is None else cause).__name__,
            detail="it is asked again" if again else "",
        )


def _checked(result: object) -> HandlerResult:
    """Refuse what is no result, whatever the types of a handler promise."""
    if result is None:
        return HandlerResult()
    if isinstance(result, HandlerResult) and result.status in ("handled", "deferred", "refused"):
        return result
    raise HandlerError("a handler gives a HandlerResult or None", code="handler_failed")
