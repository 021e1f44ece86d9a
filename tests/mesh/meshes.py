"""Nodes that take part in a mesh, over real sessions on Unix sockets in one process."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.foundation.identity import Identity
from web4.mesh.runtime import MeshRuntime
from web4.protocols.cip import CipOptions, CipRuntime, accept
from web4.protocols.cip.agreement import Offer
from web4.protocols.messages.cip import Features
from web4.testing import TrioClock
from web4.testing.clocks import START_MS
from web4.trust import Anchored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import Self

    from web4.mesh.policy import MeshForwardingPolicy
    from web4.protocols.cip import Delivery, IntentAnswer

MESHED = Offer(
    protocols=("cip/1.0", "mesh/1.0"),
    capabilities=("state_exchange", "knowledge_exchange"),
    features=Features(supports_mesh=True, supports_multiplex=False),
)


async def gladly(_delivery: Delivery) -> IntentAnswer:
    return accept()


def identity_of(name: str) -> Identity:
    return Identity.from_seed(f"mesh: {name}".encode().ljust(32, b"."))


class MeshNode:
    """A node of these tests. Everybody it is to trust is anchored."""

    def __init__(
        self,
        name: str,
        nursery: trio.Nursery,
        directory: Path,
        *,
        policy: MeshForwardingPolicy | None = None,
        offer: Offer = MESHED,
    ) -> None:
        self.name = name
        self.identity = identity_of(name)
        self.fingerprint = self.identity.fingerprint
        self.nursery = nursery
        self.url = f"unix://{directory}/{name}.sock"
        self.policy = policy
        self.offer = offer
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.heard: list[Delivery] = []
        self._links: dict[str, trio.CancelScope] = {}

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    async def __aenter__(self) -> Self:
        self.stack = AsyncExitStack()
        clock = TrioClock(START_MS + round(trio.current_time() * 1_000))
        registry = rtt.default_registry()
        self.endpoint = await self.stack.enter_async_context(
            rtt.open_endpoint(self.identity, transports=registry, emit=self.emit)
        )
        self.cip = await self.stack.enter_async_context(
            CipRuntime(
                self.identity,
                options=CipOptions(agent_id=self.name, offer=self.offer),
                emit=self.emit,
                clock=clock,
                accept_intent=gladly,
            )
        )
        self.mesh = MeshRuntime(
            self.identity,
            cip=self.cip,
            endpoint=self.endpoint,
            transports=registry,
            policy=self.policy,
            emit=self.emit,
            clock=clock,
        )
        await self.endpoint.listen(self.url, admit=self.cip.admit)
        self.nursery.start_soon(self._accept)
        self.nursery.start_soon(self._read)
        self._mesh_scope = trio.CancelScope()
        await self.nursery.start(self._run_mesh)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    def stop(self) -> None:
        """Go without a word: every session with this node loses its carrier."""
        self._mesh_scope.cancel()
        self.endpoint.abort_all()

    async def _run_mesh(self, task_status: trio.TaskStatus[None]) -> None:
        with self._mesh_scope:
            await self.mesh.run(task_status=task_status)

    async def _accept(self) -> None:
        async for session in self.endpoint.sessions():
            self.nursery.start_soon(self.cip.serve, session)

    async def _read(self) -> None:
        async for delivery in self.cip.inbox:
            self.heard.append(delivery)

    async def trust(self, *others: MeshNode) -> None:
        for other in others:
            await self.cip.trust_command(other.fingerprint, Anchored(at_ms=START_MS))

    def join(self, other: MeshNode) -> None:
        """Keep a direct session with another node until `part`."""
        self._links[other.name] = scope = trio.CancelScope()
        self.nursery.start_soon(self._joined, other, scope)

    def part(self, other: MeshNode) -> None:
        self._links.pop(other.name).cancel()

    async def _joined(self, other: MeshNode, scope: trio.CancelScope) -> None:
        with scope, suppress(rtt.SessionLost):
            async with self.endpoint.dial(other.url, expect=other.fingerprint) as session:
                await self.cip.serve(session)

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        return [fields for seen, fields in self.events if seen == kind and wanted.items() <= fields.items()]


async def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is the state of several tasks
            await trio.sleep(0.02)


@asynccontextmanager
async def mesh_of(
    directory: Path, links: str, *, trusting: bool = True, **of: dict[str, Any]
) -> AsyncIterator[dict[str, MeshNode]]:
    """Nodes joined as `links` says: `a-b b-c`; all of them trust each other."""
    pairs = [pair.split("-") for pair in links.split()]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nodes = {name: MeshNode(name, nursery, directory, **of.get(name, {})) for name in names}
        for node in nodes.values():
            await stack.enter_async_context(node)
        for node in nodes.values():
            if trusting:
                await node.trust(*[other for other in nodes.values() if other is not node])
        for first, second in pairs:
            nodes[first].join(nodes[second])
        yield nodes
        nursery.cancel_scope.cancel()


def has_routes(nodes: dict[str, MeshNode]) -> bool:
    """Whether every node has a way to every other."""
    return all(
        node.mesh.route(other.fingerprint) is not None
        for node in nodes.values()
        for other in nodes.values()
        if other is not node
    )
