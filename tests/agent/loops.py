"""An agent loop on a router that runs, and peers who ask it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.router.hosts import ADA, BOB, EVE, Host, delivery
from web4.agent import AgentLoopAdapter, Result
from web4.foundation.ids import SeededIds
from web4.protocols.messages.cip import Intent, Reply
from web4.protocols.router import ProtocolRouter
from web4.testing import TrioClock
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from web4.agent import Task
    from web4.agent.tasks import TaskHandler
    from web4.protocols.cip import IntentAnswer
    from web4.protocols.cip.actions import Delivery


async def echo(task: Task) -> Result:
    return Result(content={"echo": task.content["topic"].text})


class Loop:
    """A node with an agent, as its peers see it."""

    def __init__(self, host: Host, adapter: AgentLoopAdapter) -> None:
        self.host = host
        self.adapter = adapter

    async def ask(self, topic: str, *, peer: str = ADA, corr_id: str | None = None, **more: Any) -> Delivery:
        """An INTENT of a peer, as the session handles it: asked about, then delivered."""
        one = intent(topic, peer=peer, corr_id=corr_id, **more)
        self.answer: IntentAnswer = await self.host.accept_intent(one)
        if self.answer.status == "accepted":
            self.host.inbox.put(one)
        return one

    async def settled(self, count: int) -> None:
        await self.host.until_settled(count)

    def replies(self, peer: str = ADA) -> list[tuple[str, str]]:
        """Status and reason of what a peer was answered at the end, in order."""
        return [
            (one.status, one.reason) for to, one, _ in self.host.sent if to == peer and isinstance(one, Reply)
        ]

    def states(self, lane: str) -> list[str]:
        return [
            fields["state"]
            for kind, fields in self.host.events
            if kind == "loop_state" and fields["lane"] == lane
        ]

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [fields for seen, fields in self.host.events if seen == kind]


def intent(
    topic: str, *, peer: str = ADA, corr_id: str | None = None, priority: Any = "normal", **context: Any
) -> Delivery:
    asked = Intent(goal="ask", topic=topic, priority=priority, context=context)
    return delivery(asked, peer=peer, corr_id=corr_id)


@asynccontextmanager
async def loop(
    handler: TaskHandler = echo, *, before: Callable[[ProtocolRouter], None] | None = None, **more: Any
) -> AsyncIterator[Loop]:
    """A node whose agent works with `handler`, and trusts three peers."""
    host = Host().trusts(ADA, BOB, EVE)
    router = ProtocolRouter(host, emit=host.emit)
    if before is not None:
        before(router)
    adapter = AgentLoopAdapter(router, handler, clock=TrioClock(START_MS), ids=SeededIds("an agent"), **more)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)
        yield Loop(host, adapter)
        nursery.cancel_scope.cancel()


CONVERSATIONS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(10)]
