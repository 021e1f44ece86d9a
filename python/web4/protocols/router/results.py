"""What a handler says about a message, and what the router made of it (ROUTE-2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from web4.foundation.errors import Web4Error
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.cip.sealing import About
    from web4.protocols.messages.vocabulary import AgentPayload
    from web4.trust import TrustCommand, TrustEvent

HandledStatus = Literal["handled", "deferred", "refused"]
RouteStatus = Literal["handled", "duplicate", "deferred", "refused", "unhandled", "failed"]


@dataclass(frozen=True, slots=True)
class Output:
    """A message that is to be sent because of another one.

    Args:
        peer: Fingerprint of the receiver.
        payload: Of any type that an application may send.
        corr_id: The conversation; that of the message that is being handled when left out.
        about: What an envelope of HCP or LIP says beside its payload: `HumanParties` or `SourceClaim`.
    """

    peer: str
    payload: AgentPayload
    corr_id: str | None = None
    about: About | None = None


@dataclass(frozen=True, slots=True)
class HandlerResult:
    """What one handler did with a message. None from a handler is the same as `HandlerResult()`.

    Args:
        status: `handled` passes the message on to the next handler of its type; `deferred` and `refused` end the chain.
        outputs: What is to be sent because of it, in order.
        trust: Whose trust it is evidence about: (fingerprint, command). Of all that handlers say about one peer because
            of one message only the first counts (ROUTE-3).
        error: Why it was refused or deferred.
        rest: Work that goes on while the peer's next messages are handled, such as a task of the agent. The message is
            settled only at its end, with what that gives.
    """

    status: HandledStatus = "handled"
    outputs: tuple[Output, ...] = ()
    trust: tuple[tuple[str, TrustCommand], ...] = ()
    error: Web4Error | None = None
    rest: Callable[[], Awaitable[HandlerResult | None]] | None = None


Handler = Callable[["Delivery"], Awaitable[HandlerResult | None]]
"""Handles a message. Its effects on other lanes are idempotent by `msg_id`: after a crash it is asked again (OUT-3)."""


@dataclass(frozen=True, slots=True)
class RouteResult:
    """What became of a message, in one object.

    Args:
        status: `duplicate` was handled before; `unhandled` has no handler; `failed` is a dead letter.
        transition: The trust events that it caused, at most one per peer concerned (ROUTE-3).
        outputs: What was sent because of it.
        error: Why it was refused, deferred, or failed.
    """

    status: RouteStatus
    transition: tuple[TrustEvent, ...] = ()
    outputs: tuple[Output, ...] = ()
    error: Web4Error | None = None
