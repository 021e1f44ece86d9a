"""The relay carrier is a transport like any other: the contract suite runs on it (RTT-69, MESH-1)."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from web4.foundation.clock import SystemClock
from web4.foundation.ids import SystemIds
from web4.mesh.relay import MeshTransport, RelayHub
from web4.testing import check_transport
from web4.testing.transport import CHECKS
from web4.testing.transport.arena import ALICE, BOB

if TYPE_CHECKING:
    from web4.protocols.messages.mesh import MeshRelay
    from web4.rtt import Address
    from web4.rtt.transports.transport import Acceptor, GivenUp

STRIDE = int(os.environ.get("WEB4_TRANSPORT_STRIDE", "997"))
ROUNDS = int(os.environ.get("WEB4_TRANSPORT_ROUNDS", "5"))
FULL = 256
"""Parts that wait on the way before whoever sends has to."""


class Way:
    """A way between two hubs, as a mesh makes it: parts wait, and go on in order."""

    def __init__(self, own: str) -> None:
        self.own = own
        self.waiting: deque[MeshRelay] = deque()
        self.news = trio.Event()
        self.room = trio.lowlevel.ParkingLot()

    def say(self, peer: str, part: MeshRelay, via: str | None) -> bool:
        self.waiting.append(part)
        self.news.set()
        return True

    def full(self, peer: str, via: str | None) -> bool:
        return len(self.waiting) >= FULL

    async def wait_for_room(self, peer: str, via: str | None) -> None:
        while self.full(peer, via):
            await self.room.park()

    def dead(self, peer: str, via: str | None) -> None:
        """There is no other way."""

    async def run(self, other: RelayHub) -> None:
        while True:
            while self.waiting:
                other.arrive(self.own, self.waiting.popleft())
                self.room.unpark_all()
                await trio.lowlevel.checkpoint()
            self.news = trio.Event()
            await self.news.wait()


class Both:
    """A transport that dials at Alice's node, and listens at Bob's."""

    scheme = "mesh"
    local_only = MeshTransport.local_only
    survives_address_change = MeshTransport.survives_address_change
    max_write = MeshTransport.max_write

    def __init__(self, alice: RelayHub, bob: RelayHub) -> None:
        self.alice = MeshTransport(alice, ALICE.fingerprint)
        self.bob = MeshTransport(bob, BOB.fingerprint)

    async def connect(self, address: Address, given_up: GivenUp | None = None) -> trio.abc.Stream:
        return await self.alice.connect(address, given_up)

    async def listen(self, address: Address) -> Acceptor:
        return await self.bob.listen(address)


@pytest.mark.parametrize("check", CHECKS)
async def test_xport_contract_suite_on_relays(check: str) -> None:
    """RTT-69: a relay stream carries, breaks, stalls and is cancelled as every stream."""
    there, back = Way(ALICE.fingerprint), Way(BOB.fingerprint)
    clock, ids = SystemClock(), SystemIds()
    alice, bob = RelayHub(there, clock=clock, ids=ids), RelayHub(back, clock=clock, ids=ids)
    async with trio.open_nursery() as nursery:
        for task in (alice.run, bob.run):
            nursery.start_soon(task)
        nursery.start_soon(there.run, bob)
        nursery.start_soon(back.run, alice)
        both = Both(alice, bob)
        await trio.testing.wait_all_tasks_blocked()
        ran = await check_transport(
            lambda: both,
            f"mesh://{BOB.fingerprint}",
            only=[check],
            stride=STRIDE,
            rounds=ROUNDS,
            patience=30.0 + ROUNDS,
        )
        assert ran[check] > 0
        nursery.cancel_scope.cancel()
