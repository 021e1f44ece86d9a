"""The peer registry on lane `server`: what is durable, what is telemetry, and its bound (MESH-8)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.actors.jobs import Said, opened
from web4.actors import open_lane_actors
from web4.foundation.logic import replay
from web4.journal.backends.memory import MemoryStore
from web4.journal.event_types import EventRegistry
from web4.mesh.registry import peers_logic
from web4.mesh.registry.errors import AddressError, RegistryError
from web4.mesh.registry.peers_events import PEERS_EVENTS, OfferedByPeer
from web4.mesh.registry.peers_file import NamedPeer, PeersFile
from web4.mesh.registry.peers_logic import PEERS, ForgetPeer, KnowPeer, PeersLogic
from web4.mesh.registry.registry import PeerRegistry
from web4.mesh.server_lane import SERVER_LANE
from web4.testing import check_lane_logic
from web4.testing.clocks import TrioClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OWN, A, B, C = "0" * 64, "a" * 64, "b" * 64, "c" * 64
HERE = ("tcp://10.0.0.7:7440",)
THERE = ("tcp://10.0.0.8:7440",)


@asynccontextmanager
async def up(store: MemoryStore, said: Said | None = None) -> AsyncIterator[PeerRegistry]:
    registry = PeerRegistry(own=OWN, clock=TrioClock(), emit=said or Said())
    async with (
        opened(store, events=()) as journal,
        open_lane_actors(journal, {"server": SERVER_LANE}) as actors,
    ):
        registry.bind(actors)
        await registry.load()
        yield registry


def test_logic_is_pure_and_replays() -> None:
    """ACT-1, WEB-2."""
    service = OfferedByPeer(name="sum", version="1.0")
    commands: list[Any] = [
        KnowPeer(at=1, fingerprint=A, source="inbound", capabilities=("state_exchange",)),
        KnowPeer(at=2, fingerprint=A, source="introduced", addresses=HERE),
        KnowPeer(at=3, fingerprint=A, source="inbound", addresses=THERE, services=(service,)),
        KnowPeer(at=4, fingerprint=A, source="configured", addresses=THERE, agent_id="bela"),
        KnowPeer(at=5, fingerprint=A, source="inbound"),
        KnowPeer(at=6, fingerprint=B, source="introduced", addresses=HERE),
        ForgetPeer(at=7, fingerprint=B, reason="operator", by="ada"),
        ForgetPeer(at=8, fingerprint=B, reason="operator", by="ada"),
    ]
    state, events = check_lane_logic(PeersLogic(), commands)
    assert len(events) == 6
    assert list(state.peers) == [A]
    entry = state.peers[A]
    assert (entry.source, entry.addresses, entry.services) == ("configured", THERE, (service,))
    registry = EventRegistry(PEERS_EVENTS)
    reread: list[Any] = [registry.reread(registry.type_of(one), registry.encode(one)) for one in events]
    assert replay(PeersLogic(), reread) == state
    assert PEERS.definition.decode(PEERS.definition.encode(state)) == state


def test_a_stronger_word_keeps_its_addresses() -> None:
    """What an introducer says of a configured peer does not lead this node elsewhere."""
    logic = PeersLogic()
    state = logic.initial
    for source, addresses in (("configured", HERE), ("introduced", THERE), ("inbound", THERE)):
        command = KnowPeer(at=1, fingerprint=A, source=source, addresses=addresses)  # type: ignore[arg-type]
        for event in logic.decide(state, command).events:
            state = logic.apply(state, event)
    assert state.peers[A].addresses == HERE


async def test_add_remove_get_all_has_outlive_a_restart() -> None:
    """MESH-8: durable when it returns; last_seen is not."""
    store, said = MemoryStore(), Said()
    async with up(store, said) as registry:
        entry = await registry.add(A, source="configured", addresses=HERE, agent_id="bela")
        await registry.add(B, source="inbound", capabilities=("state_exchange",), services=[("sum", "1.2")])
        await registry.add(C, source="introduced")
        registry.seen(A)
        known = registry.get(A)
        assert known is not None
        assert (known.entry, known.live) == (entry, True)
        await registry.remove(C)
        assert (registry.has(C), registry.get(C)) == (False, None)
        with pytest.raises(RegistryError) as caught:
            await registry.remove(C)
        assert caught.value.code == "unknown_peer"
        with pytest.raises(RegistryError) as caught:
            await registry.add(OWN, source="inbound")
        assert caught.value.code == "own_fingerprint"
        with pytest.raises(AddressError):
            await registry.add(C, source="configured", addresses=["tcp://nowhere"])
        before = [one.entry for one in registry.all()]
    kinds = [kind for kind, _ in said.events if kind.startswith("peer_")]
    assert kinds == ["peer_added"] * 3 + ["peer_removed"]
    changes = [fields["change"] for fields in said.of("topology_changed")]
    assert changes == ["added", "added", "added", "live", "removed"]
    async with up(store) as registry:
        assert [one.entry for one in registry.all()] == before
        assert [one.last_seen_ms for one in registry.all()] == [None, None]
        assert not registry.live(A)


async def test_silent_for_90_seconds_is_stale(autojump_clock: trio.testing.MockClock) -> None:
    """MESH-8: not routable from then on, until it is heard of again."""
    said = Said()
    async with up(MemoryStore(), said) as registry, trio.open_nursery() as nursery:
        nursery.start_soon(registry.run)
        await registry.add(A, source="inbound")
        registry.seen(B)
        registry.seen(A)
        await trio.sleep(89)
        assert registry.live(A)
        await trio.sleep(20)
        assert not registry.live(A)
        registry.seen(A)
        assert registry.live(A)
        registry.lost(A)
        assert not registry.live(A)
        changes = [fields["change"] for fields in said.of("topology_changed")]
        assert changes == ["added", "live", "stale", "live", "stale"]
        nursery.cancel_scope.cancel()


async def test_the_registry_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest silent of the weakest gives way; configured ones never do, and the operator hears of it."""
    monkeypatch.setattr(peers_logic, "MAX_PEERS", 3)
    monkeypatch.setattr("web4.mesh.registry.registry.MAX_PEERS", 3)
    said = Said()
    async with up(MemoryStore(), said) as registry:
        await registry.add(A, source="configured")
        await registry.add(B, source="inbound")
        await registry.add(C, source="inbound")
        registry.seen(B)
        await registry.add("d" * 64, source="inbound")
        assert [one.entry.fingerprint for one in registry.all()] == [A, B, "d" * 64]
        registry.seen("d" * 64)
        with pytest.raises(RegistryError) as caught:
            await registry.add("e" * 64, source="inbound")
        assert caught.value.code == "registry_full"
        assert said.of("topology_changed")[-1]["change"] == "registry_full"
        await registry.add(B, source="inbound", agent_id="known already")


async def test_the_peers_file_is_what_is_configured() -> None:
    """MESH-8: who is taken out of the file is forgotten, who came otherwise stays."""
    bela = NamedPeer(name="bela", fingerprint=A, addresses=HERE)
    carl = NamedPeer(name="carl", fingerprint=B)
    async with up(MemoryStore()) as registry:
        await registry.add(C, source="inbound")
        await registry.configure(PeersFile(peers=(bela, carl, NamedPeer(name="me", fingerprint=OWN))))
        assert [one.entry.source for one in registry.all()] == ["configured", "configured", "inbound"]
        await registry.configure(PeersFile(peers=(msgspec.structs.replace(bela, addresses=THERE),)))
        assert [one.entry.fingerprint for one in registry.all()] == [A, C]
        known = registry.get(A)
        assert known is not None
        assert known.entry.addresses == THERE
