"""How the application answers an INTENT at once (LOOP-5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.protocols.cip.actions import Delivery

    AcceptIntent = Callable[[Delivery], Awaitable["IntentAnswer"]]
    """Asked once for each INTENT that was let in. What it accepts is put into the inbox."""


FirstStatus = Literal["accepted", "deferred", "refused"]


@dataclass(frozen=True, slots=True)
class IntentAnswer:
    """The first answer to an INTENT. `accept`, `defer` and `refuse` make it.

    Args:
        status: What the peer is told.
        reason: Why, in words or a code, for the peer.
        retry_after_ms: With `deferred`: when a new message of the same conversation may ask again.
    """

    status: FirstStatus
    reason: str
    retry_after_ms: int | None = None


def accept(reason: str = "") -> IntentAnswer:
    """Take the INTENT on: it is put into the inbox, and owes the peer a REPLY(done or failed)."""
    return IntentAnswer("accepted", reason)


def defer(retry_after_ms: int, reason: str = "") -> IntentAnswer:
    """Ask for patience (CIP-4)."""
    return IntentAnswer("deferred", reason, retry_after_ms)


def refuse(reason: str) -> IntentAnswer:
    """Decline."""
    return IntentAnswer("refused", reason)


async def refuse_all(_delivery: Delivery) -> IntentAnswer:
    """Answer for a node whose application takes no INTENTs."""
    return refuse("unhandled")


async def asked(
    accept_intent: AcceptIntent,
    delivery: Delivery,
    *,
    within_ms: int,
    slow: IntentAnswer,
    failed: Callable[[Exception], None],
) -> IntentAnswer:
    """Ask the application, which may fail or hang: that is its own trouble, not the session's (ROUTE-5).

    Args:
        accept_intent: Whom to ask.
        delivery: About what.
        within_ms: How long it may take.
        slow: The answer if it takes longer.
        failed: Told what it raised.
    """
    try:
        with trio.move_on_after(within_ms / 1_000):
            return _checked(await accept_intent(delivery))
    except Exception as error:
        failed(error)
        return refuse("handler_failed")
    return slow


def _checked(answer: object) -> IntentAnswer:
    """Refuse what is no answer at all, whatever the types of the application promise."""
    if isinstance(answer, IntentAnswer) and answer.status in get_args(FirstStatus):
        return answer
    raise TypeError("accept_intent gives an IntentAnswer: accept(), defer() or refuse()")
