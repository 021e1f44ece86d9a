"""What the checks of a transport share: two endpoints on it, faults between them, and what must be left of it all."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from web4 import rtt
from web4.foundation.identity import Identity
from web4.testing.transport.faulty import FaultyTransport

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

ALICE = Identity.from_seed(b"contract: alice".ljust(32, b"\0"))
BOB = Identity.from_seed(b"contract: bob".ljust(32, b"\0"))
CAROL = Identity.from_seed(b"contract: carol".ljust(32, b"\0"))

MANY = 1_000_000
ROOMY: dict[str, Any] = {"carriers_per_second": MANY, "carriers_burst": MANY, "half_open_per_address": 256}
"""Options under which the suite's own pace is no flood."""


class TransportContractError(AssertionError):
    """A transport does not do what sessions need of it. Its text begins with the name of the check."""


@dataclass
class Events:
    """An emitter that keeps what it is told."""

    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, name: str, /, **fields: Any) -> None:
        """See `web4.foundation.events.Emitter`."""
        self.seen.append((name, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        """What the events of a name said."""
        return [fields for seen, fields in self.seen if seen == name]


@dataclass
class Ends:
    """Two endpoints: Bob listens, Alice dials."""

    alice: rtt.Endpoint
    bob: rtt.Endpoint
    alice_events: Events
    bob_events: Events
    address: str
    transport: FaultyTransport


@dataclass
class Joined:
    """A session, seen from where it was dialled and from where it was accepted."""

    here: rtt.RttSession
    there: rtt.RttSession
    ends: Ends

    async def channel(self, kind: str = "knowledge", **arguments: Any) -> tuple[rtt.Channel, rtt.Channel]:
        """A channel, opened here and accepted there."""
        ours = await self.here.open_channel(kind, **arguments)
        return ours, await self.there.accept_channel()


class Arena:
    """The transport under test, and how thoroughly it is tested."""

    def __init__(
        self,
        factory: Callable[[], rtt.Transport],
        at: str,
        *,
        stride: int,
        rounds: int,
        seed: int,
        patience: float,
    ) -> None:
        self.factory = factory
        self.at = at
        self.stride = stride
        self.rounds = rounds
        self.random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.patience = patience
        self.cases = 0
        """How many cases the current check ran."""

    @asynccontextmanager
    async def case(self, what: str) -> AsyncGenerator[None]:
        """One case: it must end in time; what fails in it says which case it was."""
        self.cases += 1
        try:
            with trio.fail_after(self.patience):
                yield
        except trio.TooSlowError:
            raise TransportContractError(f"{what}: nothing happened for {self.patience} s") from None
        except Exception as error:
            raise TransportContractError(f"{what}: {_told(error)}") from error

    @asynccontextmanager
    async def ends(
        self,
        options: rtt.Options | None = None,
        *,
        dialed: Iterable[rtt.Faults | None] = (),
        accepted: Iterable[rtt.Faults | None] = (),
        factory: Callable[[], rtt.Transport] | None = None,
        at: str | None = None,
    ) -> AsyncGenerator[Ends]:
        """Two endpoints on the transport, with faults; nothing of them is left afterwards."""
        transport = FaultyTransport((factory or self.factory)(), dialed=dialed, accepted=accepted)
        registry = rtt.Registry()
        registry.register(transport.scheme, lambda: transport)
        options = options or rtt.Options(**ROOMY)
        alice_events, bob_events = Events(), Events()
        async with AsyncExitStack() as stack:
            alice = await stack.enter_async_context(
                rtt.open_endpoint(ALICE, options=options, transports=registry, emit=alice_events)
            )
            bob = await stack.enter_async_context(
                rtt.open_endpoint(BOB, options=options, transports=registry, emit=bob_events)
            )
            listener = await bob.listen(at or self.at, admit=lambda _peer, _address: True)
            yield Ends(alice, bob, alice_events, bob_events, listener.addresses[0], transport)

    @asynccontextmanager
    async def joined(self, options: rtt.Options | None = None, **faults: Any) -> AsyncGenerator[Joined]:
        """A session between two endpoints; whatever state it is in is aborted at the end."""
        async with self.ends(options, **faults) as ends, dialled(ends) as joined:
            yield joined


@asynccontextmanager
async def dialled(ends: Ends) -> AsyncGenerator[Joined]:
    """A session of two endpoints, aborted at the end."""
    async with ends.alice.dial(ends.address, expect=BOB.fingerprint) as here:
        there = await accepted_session(ends.bob)
        try:
            yield Joined(here, there, ends)
        finally:
            here.abort("the case is over")
            there.abort("the case is over")


async def accepted_session(endpoint: rtt.Endpoint) -> rtt.RttSession:
    """The next session that somebody opened."""
    async for session in endpoint.sessions():
        return session
    raise AssertionError("the endpoint is closed")


def require(condition: object, what: str) -> None:
    """Raise `TransportContractError` unless a condition holds."""
    if not condition:
        raise TransportContractError(what)


async def settled(condition: Callable[[], bool], what: str, patience: float = 10.0) -> None:
    """Wait for a condition that no event announces."""
    with trio.move_on_after(patience):
        while not condition():  # noqa: ASYNC110 - as it says
            await trio.sleep(0.001)
    require(condition(), what)


async def emptied(endpoint: rtt.Endpoint, patience: float = 10.0) -> None:
    """Every session of an endpoint is over, those included that nobody has taken yet."""
    with trio.move_on_after(patience):
        while endpoint.session_count:
            with trio.move_on_after(0.005):
                (await accepted_session(endpoint)).abort("the case is over")
    require(not endpoint.session_count, "the acceptor keeps a session that is over")


def descriptors() -> int | None:
    """How many descriptors this process has open, where the system tells."""
    own = Path("/proc/self/fd")
    return len(list(own.iterdir())) if own.exists() else None


def tasks() -> int:
    """How many tasks live in this Trio run."""
    return trio.lowlevel.current_statistics().tasks_living


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return str(error) if isinstance(error, TransportContractError) else f"{type(error).__name__}: {error}"
