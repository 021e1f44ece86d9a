"""Introduced peers are dialled where their introducer could dial them, and nowhere else (MESH-10, decision 0029)."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from tests.node.nodes import a_node, config, until
from web4.mesh.registry.peers_events import PeerEntry
from web4.mesh.registry.told import ToldAddresses
from web4.node.config import config_of
from web4.node.connecting import LONGEST_INTRODUCED_PAUSE, Connector
from web4.node.errors import ConfigurationError
from web4.node.introduced import BURST, MOST_ADDRESSES, MOST_PLACES, IntroducedPlaces
from web4.node.tries import Tries
from web4.rtt import TransportUnavailableError
from web4.testing import TrioClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from trio.testing import MockClock

ANN, BEA = "a" * 64, "b" * 64
PUBLIC = "9.9.9.9"


class World:
    """A registry, trust and an endpoint that reaches nobody, and who dialled where."""

    def __init__(self, *entries: PeerEntry) -> None:
        self.entries = {one.fingerprint: one for one in entries}
        self.states = dict.fromkeys(self.entries, "probing")
        self.handshaken: set[str] = set()
        self.at: dict[str, str | None] = {}
        self.names: dict[str, list[str]] = {}
        self.dialled: list[tuple[float, str, str]] = []
        self.resolved: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.trust = SimpleNamespace(
            state=lambda peer: self.states[peer],
            observe=self.observe,
            record=lambda peer: SimpleNamespace(handshaken=peer in self.handshaken),
        )

    def observe(self, _: object) -> Callable[[], None]:
        return lambda: None

    def all(self) -> list[Any]:
        return [SimpleNamespace(entry=one) for one in self.entries.values()]

    def get(self, peer: str) -> Any:
        return SimpleNamespace(entry=self.entries[peer])

    def peers(self) -> list[str]:
        return []

    @asynccontextmanager
    async def dial(self, url: str, *, expect: str) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint()
        self.dialled.append((trio.current_time(), expect, url))
        raise TransportUnavailableError("nobody", code="unreachable")
        yield

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        self.resolved.append(host)
        return self.names.get(host, [host])

    def emit(self, kind: str, /, **fields: Any) -> None:
        assert kind == "address_refused"
        self.events.append(fields)

    async def run(self, seconds: float) -> None:
        places = IntroducedPlaces(
            ToldAddresses(own=lambda: ["tcp://127.0.0.1:7777"]),
            reached=self.at.get,
            resolve=self.resolve,
            clock=TrioClock(),
            emit=self.emit,
        )
        anything = cast("Any", self)
        with trio.move_on_after(seconds):
            tries = Tries(clock=TrioClock(), known=lambda _: True)
            await Connector(anything, anything, anything, None, places, tries=tries).run()

    @property
    def places(self) -> list[str]:
        return [url for _, _, url in self.dialled]


def introduced(peer: str, *addresses: str, by: str | None = ANN, **more: Any) -> PeerEntry:
    told: dict[str, Any] = {"source": "introduced", "at_ms": 0, "told_by": by, **more}
    return PeerEntry(fingerprint=peer, addresses=addresses, **told)


INSIDE = ("tcp://127.0.0.1:7440", "tcp://10.0.0.7:7440", "tcp://inside.example:7440", "tcp://9.9.9.9:7440")


@pytest.mark.parametrize("at", [None, PUBLIC])
async def test_nobody_far_away_aims_it_at_what_is_inside(autojump_clock: MockClock, at: str | None) -> None:
    """MESH-10, FETCH-3: not one packet to loopback or private addresses; each refusal is told once, with its code."""
    world = World(introduced(BEA, *INSIDE))
    world.at[ANN] = at
    world.names["inside.example"] = ["10.0.0.9"]
    await world.run(3_600)
    assert set(world.places) == {"tcp://9.9.9.9:7440"}
    told = [(one["address"], one["code"], one["introducer"], one["peer"]) for one in world.events]
    assert told == [(address, "not_public", ANN, BEA) for address in INSIDE[:3]]


@pytest.mark.parametrize(("at", "count"), [("10.0.0.1", 3), ("127.0.0.1", 4), ("", 4)])
async def test_whoever_is_inside_may_name_it(autojump_clock: MockClock, at: str, count: int) -> None:
    """MESH-10: an introducer on this machine or network tells nothing that it could not try itself."""
    world = World(introduced(BEA, *INSIDE))
    world.at[ANN] = at
    world.names["inside.example"] = ["10.0.0.9"]
    await world.run(60)
    assert len(set(world.places)) == count
    assert "tcp://10.0.0.9:7440" in world.places, "what was looked at is what is dialled"


async def test_a_name_that_leads_inside_once_is_not_believed(autojump_clock: MockClock) -> None:
    """FETCH-4: all addresses of a name, or none; and none that it has after it was looked at."""
    world = World(introduced(BEA, "tcp://both.example:7440", "tcp://many.example:7440"))
    world.names |= {
        "both.example": [PUBLIC, "127.0.0.1"],
        "many.example": [f"9.9.9.{n}" for n in range(1, 30)],
    }
    await world.run(60)
    assert set(world.places) == {f"tcp://9.9.9.{n}:7440" for n in range(1, MOST_PLACES + 1)}
    assert [one["code"] for one in world.events] == ["not_public"]


async def test_its_own_listener_is_not_dialled(autojump_clock: MockClock) -> None:
    world = World(introduced(BEA, "tcp://127.0.0.1:7777"))
    world.at[ANN] = "127.0.0.1"
    await world.run(60)
    assert world.dialled == []
    assert [one["code"] for one in world.events] == ["own_address"]


async def test_a_flood_of_introductions_is_dialled_slowly(autojump_clock: MockClock) -> None:
    """LIM-1: one introducer's subjects share its pace; nobody else's wait for them, and reaching it is an event."""
    many = [f"{number:064x}" for number in range(64)]
    flood = [introduced(peer, *[f"tcp://9.9.9.9:{2_000 + n}" for n in range(8)]) for peer in many]
    world = World(*flood, introduced(BEA, "tcp://9.9.9.8:7440", by="c" * 64))
    await world.run(100)
    of_flood = [url for _, peer, url in world.dialled if peer != BEA]
    assert BURST < len(of_flood) <= BURST + 100 + 1
    first = min(at for at, peer, _ in world.dialled if peer == BEA)
    assert first - world.dialled[0][0] < 1
    assert sum(peer == BEA for _, peer, _ in world.dialled) >= 3, "it is tried again and again meanwhile"
    limits = [one for one in world.events if one["code"] == "too_often"]
    assert {one["introducer"] for one in limits} == {ANN}
    assert all(one["retry_after_ms"] > 0 for one in limits)
    each = {peer: {url for _, who, url in world.dialled if who == peer} for peer in many}
    assert max(len(urls) for urls in each.values()) <= MOST_ADDRESSES


async def test_one_that_never_answers_is_dialled_rarely(autojump_clock: MockClock) -> None:
    """A peer that nobody but its introducer says is there costs its place a packet in some minutes."""
    world = World(introduced(BEA, "tcp://9.9.9.9:7440"))
    await world.run(10 * LONGEST_INTRODUCED_PAUSE)
    assert 10 <= len(world.dialled) <= 40


@pytest.mark.parametrize(
    ("state", "handshaken", "dials"),
    [
        ("untrusted", False, False),
        ("untrusted", True, True),
        ("blacklisted", True, False),
        ("trusted", False, True),
    ],
)
async def test_an_introduction_that_ended_is_not_dialled(
    autojump_clock: MockClock, state: str, handshaken: bool, dials: bool
) -> None:
    """MESH-11: whose introducer was lost, and who never came itself, is not sought any more."""
    world = World(introduced(BEA, "tcp://9.9.9.9:7440"))
    world.states[BEA] = state
    world.handshaken = {BEA} if handshaken else set()
    await world.run(60)
    assert bool(world.dialled) is dials


async def test_records_of_before_do_not_say_who_told(autojump_clock: MockClock) -> None:
    """JRN-9: an older journal has introduced addresses without their introducer: public ones are dialled."""
    world = World(introduced(BEA, *INSIDE, by=None))
    world.names["inside.example"] = ["10.0.0.9"]
    world.at[BEA] = "127.0.0.1"
    await world.run(60)
    assert set(world.places) == {"tcp://9.9.9.9:7440"}


async def test_whom_the_operator_names_is_dialled_wherever(autojump_clock: MockClock) -> None:
    """UX-36: `peers.toml` is the operator's word; no rule of introductions touches it."""
    world = World(PeerEntry(fingerprint=BEA, source="configured", at_ms=0, addresses=INSIDE))
    await world.run(60)
    assert set(world.places) == set(INSIDE)
    assert (world.resolved, world.events) == ([], [])


def test_the_configuration_says_which(tmp_path: Path) -> None:
    """UX-36: a network that is none is an error that names its place."""
    assert config(mesh={"introduced": "public", "allow": ["10.0.0.0/8"]}).mesh.introduced == "public"
    with pytest.raises(ConfigurationError) as refused:
        config_of({"mesh": {"allow": ["10.0.0.0/8", "10.0.0.1/8"]}})
    assert refused.value.field == "mesh.allow[1]"
    with pytest.raises(ConfigurationError):
        config_of({"mesh": {"introduced": "always"}})


# --- whole nodes --------------------------------------------------------------------------------------------


async def test_nodes_of_one_machine_meet_by_introduction(tmp_path: Path) -> None:
    """MESH-10: bob, on this machine, introduces cleo to ada, where she listens: ada dials her without any flag."""
    with trio.fail_after(30):
        async with (
            a_node(tmp_path, "cleo") as cleo,
            a_node(tmp_path, "bob", knows=(cleo,), anchors=True) as bob,
            a_node(tmp_path, "ada", knows=(bob,), anchors=True) as ada,
        ):
            await ada.connected(bob.fingerprint)
            await bob.connected(cleo.fingerprint)
            await bob.cip.anchor([ada.fingerprint])
            await until(lambda: bob.mesh is not None and ada.fingerprint in bob.mesh.neighbours())
            assert bob.introductions is not None
            assert ada.cip.reached(bob.fingerprint) == "127.0.0.1"
            assert ada.cip.reached(cleo.fingerprint) is None
            await bob.introductions.introduce(cleo.fingerprint, cleo.identity.public_key, cleo.addresses)
            await ada.connected(cleo.fingerprint)
            known = ada.peers.get(cleo.fingerprint)
            assert known is not None
            assert (known.entry.told_by, known.entry.told) == (bob.fingerprint, True)


async def test_a_node_told_to_stay_outside_dials_nothing_here(tmp_path: Path) -> None:
    """MESH-10: with `introduced = "public"` not one connection arrives where a neighbour aimed; the event says so."""
    with trio.fail_after(30):
        async with (
            a_node(tmp_path, "cleo") as cleo,
            a_node(tmp_path, "bob", knows=(cleo,), anchors=True) as bob,
            a_node(tmp_path, "ada", knows=(bob,), anchors=True, mesh={"introduced": "public"}) as ada,
        ):
            await ada.connected(bob.fingerprint)
            await bob.connected(cleo.fingerprint)
            await bob.cip.anchor([ada.fingerprint])
            await until(lambda: bob.mesh is not None and ada.fingerprint in bob.mesh.neighbours())
            assert bob.introductions is not None
            with socket.create_server(("127.0.0.1", 0)) as aimed_at:
                aimed_at.setblocking(False)
                address = f"tcp://127.0.0.1:{aimed_at.getsockname()[1]}"
                await bob.introductions.introduce(cleo.fingerprint, cleo.identity.public_key, [address])
                await until(lambda: any(one.type == "address_refused" for one in ada.hub.memory))
                with pytest.raises(BlockingIOError):
                    aimed_at.accept()
            (refused,) = [one for one in ada.hub.memory if one.type == "address_refused"]
            assert (refused.peer, refused.payload["code"]) == (cleo.fingerprint, "not_public")
            assert (refused.payload["introducer"], refused.payload["address"]) == (bob.fingerprint, address)
            assert ada.trust.state(cleo.fingerprint) == "probing", "who it is was believed"
