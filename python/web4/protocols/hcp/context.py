"""What the parts of an `HcpRuntime` share: its ports, the lanes, and what is held in memory."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.lane.states import NOBODY
from web4.protocols.hcp.running import Running
from web4.protocols.hcp.values import Contact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from web4.foundation.clock import Clock
    from web4.foundation.errors import Web4Error
    from web4.foundation.events import Emitter
    from web4.foundation.ids import IdSource
    from web4.protocols.cip.actions import Delivery
    from web4.protocols.hcp.index import Index
    from web4.protocols.hcp.lanes import Lanes
    from web4.protocols.ports import SendMessage, TrustView

    HandOn = Callable[[Delivery], Awaitable[object]]
    """Takes a message that waited for a human and may be handled now: the agent loop's handler."""


class QueuedMessage(Protocol):
    """What waits in an outbox, as far as it is looked at here."""

    @property
    def msg_id(self) -> str:
        """Its id."""
        ...

    @property
    def type(self) -> str:
        """Its type."""
        ...

    @property
    def humans(self) -> tuple[str, ...]:
        """Of whom and for whom it is: a human here and one at the peer; empty if it is about none."""
        ...


class PurgeOutbox(Protocol):
    """How what waits to be sent about humans is dropped: `CipRuntime.purge`."""

    async def __call__(
        self, peer: str, where: Callable[[QueuedMessage], bool], reason: str, /
    ) -> tuple[str, ...]:
        """End what waits for `peer`, as far as `where` says, as `purged(reason)` (OUT-5); the ids, once durable."""
        ...


class Purging:
    """What becomes of what waits to be sent when consent is revoked, for whoever waits for that."""

    __slots__ = ("done", "purged")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.purged: int | None = None


class Waiter:
    """What those share who wait for how a message ends."""

    __slots__ = ("ended", "error", "outcome", "users")

    def __init__(self) -> None:
        self.users = 0
        self.ended = trio.Event()
        self.outcome: str | None = None
        self.error: Web4Error | None = None


@dataclass(kw_only=True)
class HumanContext:
    """See `HcpRuntime` for the ports."""

    agent_id: str
    send: SendMessage
    purge: PurgeOutbox
    trust: TrustView
    clock: Clock
    ids: IdSource
    emit: Emitter
    lanes: Lanes
    index: Index
    hand_on: HandOn | None = None
    running: Running = field(default_factory=Running)
    waiters: dict[str, Waiter] = field(default_factory=dict)
    purging: dict[str, Purging] = field(default_factory=dict)
    """By the effect of the revocation: those that somebody waits for."""
    handing: set[tuple[str, str]] = field(default_factory=set)
    """Messages that are being handed on, by peer and `msg_id`: the gate has let them pass."""
    attempting: trio.Lock = field(default_factory=trio.Lock)
    """Held while facts of several lanes are read and decided upon: they must not move in between."""

    def now(self) -> int:
        """Unix milliseconds."""
        return self.clock.wall_ms()

    async def other(self, local: str, contact: Contact) -> c.Other:
        """What is known of a human at a peer, for a decision on the lane of one here."""
        remote = await self.lanes.remote(contact) if contact.lane_id in self.index.remotes else None
        return c.Other(
            trust=self.trust.state(contact.peer),
            social="untrusted" if remote is None else remote.relation(local).state,
            facts=NOBODY if remote is None else remote.facts,
            paced_ms=self.index.paced.get(contact.lane_id, 0),
        )

    @contextmanager
    def waiting(self, action_id: str) -> Iterator[Waiter]:
        """Be told how a message ends, if that happens inside."""
        waiter = self.waiters.setdefault(action_id, Waiter())
        waiter.users += 1
        try:
            yield waiter
        finally:
            waiter.users -= 1
            if not waiter.users and self.waiters.get(action_id) is waiter:
                del self.waiters[action_id]

    @contextmanager
    def purges(self, effect_id: str) -> Iterator[Purging]:
        """Be told what a revocation has purged, if that happens inside."""
        purging = self.purging[effect_id] = Purging()
        try:
            yield purging
        finally:
            del self.purging[effect_id]

    def purged(self, effect_id: str, count: int | None) -> None:
        """Tell whoever waits how many messages were purged; None if that failed."""
        purging = self.purging.get(effect_id)
        if purging is not None:
            purging.purged = count
            purging.done.set()

    def over(self, action_id: str, outcome: str, error: Web4Error | None = None) -> None:
        """Tell whoever waits how a message ended."""
        waiter = self.waiters.pop(action_id, None)
        if waiter is not None:
            waiter.outcome, waiter.error = outcome, error
            waiter.ended.set()

    async def look_again(self, human_id: str) -> None:
        """Let a human's lane look at what waits, with what is known now.

        Raises:
            Web4Error: The lane cannot be asked.
        """
        async with self.attempting:
            state = await self.lanes.local(human_id)
            if state is None:
                return
            # Of all that waits: what is under way now may be concluded when the lane decides.
            contacts = {one.action.lane_id: one.action for one in state.line}
            others = {
                lane: await self.other(human_id, Contact(action.peer, action.human_id))
                for lane, action in contacts.items()
            }
            tick = c.Tick(others=others, at=self.now(), token=self.ids.uuid4())
            await self.lanes.ask(human_id, tick)
