"""What an agent works on: a message as a typed task, and what comes of it (LOOP-1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import trio

from web4.agent.untrusted import origin_of, untrusted
from web4.agent.working import WorkingPresence
from web4.protocols.messages.hcp import HcpEnvelope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.protocols.cip.actions import Delivery
    from web4.protocols.messages.fields import JsonObject
    from web4.protocols.router.results import Output

Priority = Literal["low", "normal", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A message that passed every check, as work (LOOP-1).

    Args:
        task_id: Unique in this process.
        kind: The type of the message: INTENT, REPLY, HCP_INTENT, HCP_CONTEXT.
        lane: Whose work it is: `peer:<fingerprint>`, or `human:<id>` for a human of this node.
        peer: Fingerprint of who sent it, proven.
        corr_id: Its conversation; that of a message that names none is its own id.
        msg_id: Of the message.
        priority: How much it matters to the sender. It orders the lane's own work only.
        deadline_ms: When it is given up, Unix milliseconds.
        content: The fields of the payload. Free text is `UntrustedText`.
        human: For HCP, the human of this node whom it concerns.
        remote_human: For HCP, the name of the peer's human on whose behalf it speaks.
        again: Whether it was begun in an earlier life of this node; only idempotent work is.
        presence: How the work stands; the handler may say more (LOOP-7).
        cancelled: Set when it is cancelled, for a loop that works outside the handler's scope.
    """

    task_id: str
    kind: str
    lane: str
    peer: str
    corr_id: str
    msg_id: str
    priority: Priority
    deadline_ms: int
    content: Mapping[str, Any]
    human: str | None = None
    remote_human: str | None = None
    again: bool = False
    presence: WorkingPresence = field(default_factory=WorkingPresence, compare=False, repr=False)
    cancelled: trio.Event = field(default_factory=trio.Event, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a task.

    Args:
        status: `done` or `failed`, as the asker is told (LOOP-5).
        reason: Why, for the asker.
        content: The answer to an INTENT. To what came by HCP the answer is an output, which passes the consent gate.
        outputs: What else is to be sent because of it.
        confidence: How sure the agent is, 0 to 1.
    """

    status: Literal["done", "failed"] = "done"
    reason: str = ""
    content: JsonObject | None = None
    outputs: tuple[Output, ...] = ()
    confidence: float | None = None


TaskHandler = Callable[[Task], Awaitable[Result]]
"""The loop of an agent, as the adapter calls it."""


def task_of(delivery: Delivery, *, task_id: str, lasts_ms: int, again: bool = False) -> Task:
    """A message as a task that is given up `lasts_ms` after it arrived, or after now for one that is begun again."""
    message = delivery.message
    human = remote = None
    lane = f"peer:{delivery.peer}"
    if isinstance(message, HcpEnvelope):
        human, remote = message.receiver.human_id, message.sender.human_id
        lane = f"human:{human}"
    content = untrusted(message.payload, origin_of(delivery))
    return Task(
        task_id=task_id,
        kind=delivery.type,
        lane=lane,
        peer=delivery.peer,
        corr_id=delivery.corr_id or delivery.msg_id,
        msg_id=delivery.msg_id,
        priority=content.get("priority", "normal"),
        deadline_ms=delivery.received_ms + lasts_ms,
        content=content,
        human=human,
        remote_human=remote,
        again=again,
        presence=WorkingPresence(task_id=task_id),
    )
