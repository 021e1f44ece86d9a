"""Nodes that talk over real RTT sessions on Unix sockets, as the tests of `CipRuntime` use them."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.cip.examples import ADA, BOB, EVERYTHING
from web4 import rtt
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import open_memory
from web4.journal.event_types import EventRegistry
from web4.journal.opening import open_journal
from web4.protocols.cip import CipOptions, CipRuntime
from web4.protocols.cip.lane import PEER_EVENTS
from web4.testing import TrioClock
from web4.testing.clocks import START_MS
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path
    from typing import Self

    from web4.foundation.identity import Identity
    from web4.journal.backends.memory import Fault, MemoryStore, Operation, ScriptedFaults
    from web4.journal.journal import Journal
    from web4.journal.redaction import Redactor
    from web4.protocols.cip import Delivery, IntentAnswer
    from web4.trust import TrustLimits


@dataclass
class Node:
    """A node of these tests: endpoint, runtime, and the events it emitted. With a `store` it has a journal in it."""

    identity: Identity
    nursery: trio.Nursery
    directory: Path
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    accept_intent: Callable[[Delivery], Awaitable[IntentAnswer]] | None = None
    store: MemoryStore | None = None
    faults: ScriptedFaults | None = None
    redactor: Redactor | None = None
    trust_limits: TrustLimits | None = None

    async def __aenter__(self) -> Self:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.heard = trio.lowlevel.ParkingLot()
        self._gates: list[trio.Event] = []
        options = CipOptions(**{"agent_id": self.name, "offer": EVERYTHING, **self.options})
        more: dict[str, Any] = {} if self.accept_intent is None else {"accept_intent": self.accept_intent}
        clock = TrioClock(START_MS + round(trio.current_time() * 1_000))  # the same time at every node
        self.clock = clock
        self.stack = AsyncExitStack()
        self.journal: Journal | None = None
        if self.store is not None:
            self.journal = await self.stack.enter_async_context(self._journal(self.store, clock))
        self.cip = CipRuntime(
            self.identity,
            options=options,
            trust=TrustRegistry(limits=self.trust_limits, emit=self.emit),
            emit=self.emit,
            clock=clock,
            ids=SeededIds(f"{self.name} in {self.directory.name}"),  # another run, other nonces
            journal=self.journal,
            **more,
        )
        self.endpoint = await self.stack.enter_async_context(rtt.open_endpoint(self.identity))
        await self.stack.enter_async_context(self.cip)
        self.url = f"unix://{self.directory}/{self.name}.sock"
        await self.endpoint.listen(self.url, admit=self.cip.admit)
        self.nursery.start_soon(self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.faults is not None:
            self.faults.clear()
        for gate in self._gates:
            gate.set()  # a test that failed may hold a commit still, which nobody else would let go
        await self.stack.aclose()

    def _fault(self, operation: Operation) -> Fault | None:
        fault = None if self.faults is None else self.faults(operation)
        if fault is not None and fault.until is not None:
            self._gates.append(fault.until)
        return fault

    @asynccontextmanager
    async def _journal(self, store: MemoryStore, clock: TrioClock) -> AsyncIterator[Journal]:
        registry = EventRegistry(PEER_EVENTS)
        async with (
            open_memory(store, faults=self._fault) as backend,
            open_journal(
                backend, registry=registry, clock=clock, emit=self.emit, redactor=self.redactor
            ) as journal,
        ):
            yield journal

    async def _accept(self) -> None:
        async for session in self.endpoint.sessions():
            self.nursery.start_soon(self.cip.serve, session)

    async def dial(self, other: Node) -> rtt.RttSession:
        """Dial and serve; the session lives as long as the node."""
        session = await self.stack.enter_async_context(self.dialled(other.url, other.identity))
        self.nursery.start_soon(self.cip.serve, session)
        return session

    @asynccontextmanager
    async def dialled(self, url: str, other: Identity) -> AsyncIterator[rtt.RttSession]:
        """A session that this test, or CIP, may close at once: what is lost by that is no failure here."""
        with suppress(rtt.SessionLost):
            async with self.endpoint.dial(url, expect=other.fingerprint) as session:
                yield session

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))
        self.heard.unpark_all()

    async def event(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Wait for an event of this type with these fields."""
        while True:
            for seen, fields in self.events:
                if seen == kind and wanted.items() <= fields.items():
                    return fields
            await self.heard.park()

    def count(self, kind: str) -> int:
        return sum(seen == kind for seen, _ in self.events)


async def until(condition: Callable[[], bool]) -> None:
    """Let mocked time pass until something is so."""
    while not condition():  # noqa: ASYNC110 - what is waited for is the state of several tasks
        await trio.sleep(0.1)


@asynccontextmanager
async def nodes(
    tmp_path: Path, patience: float = 600, /, **of: dict[str, Any]
) -> AsyncIterator[tuple[Node, Node]]:
    """Ada and Bob, listening. What the test raises comes out as it is: cancelled, leaving a node would hide it."""
    failure: BaseException | None = None
    with trio.fail_after(patience):  # of mocked time: a test that waits in vain ends
        async with (
            trio.open_nursery() as nursery,
            Node(ADA, nursery, tmp_path, "ada", **of.get("ada", {})) as ada,
            Node(BOB, nursery, tmp_path, "bob", **of.get("bob", {})) as bob,
        ):
            try:
                yield ada, bob
            except trio.Cancelled:
                raise
            except BaseException as error:  # raised again below, when nobody is cancelled any more
                failure = error
            nursery.cancel_scope.cancel()  # a test that has failed waits for nothing
    if failure is not None:
        raise failure
