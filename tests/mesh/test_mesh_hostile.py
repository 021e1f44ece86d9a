"""What a neighbour may not do: dropped with its reason, and charged to that neighbour (MESH-2, MESH-3)."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
import trio

from tests.mesh.meshes import MeshNode, has_routes, identity_of, mesh_of, until
from tests.mesh.test_mesh_runtime import listening, revoke
from web4 import rtt
from web4.foundation import envelope as envelopes
from web4.foundation.ids import SystemIds
from web4.protocols.cip.mesh_path import seal_mesh
from web4.protocols.errors import NotConnectedError
from web4.protocols.messages import mesh as m
from web4.testing.clocks import START_MS
from web4.trust import OperatorBlock

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = identity_of("a stranger")
IDS = SystemIds()


def window() -> m.MeshRelay:
    return m.MeshRelay(stream=IDS.uuid4(), kind="window", offset=0, room=0)


def crafted(node: MeshNode, destination: str, hops: list[str], *, age_ms: int = 0, **more: Any) -> bytes:
    """An envelope of a stranger that passed `hops`, made at a node's time less `age_ms`."""
    now_ms = more.pop("now_ms", node.cip._context.clock.wall_ms())
    data = seal_mesh(
        more.pop("origin", STRANGER),
        more.pop("payload", None) or window(),
        destination=destination,
        id=IDS.uuid4(),
        now_ms=now_ms - age_ms,
        **more,
    )
    for hop in hops:
        data = envelopes.with_hop(envelopes.parse(data), hop)
    return data


def reasons(node: MeshNode) -> list[str]:
    return [fields["reason"] for fields in node.of("mesh_dropped")]


async def test_mesh_loop_hop_limit_expiry(tmp_path: Path) -> None:
    """Self in `hops`, a seen id, a fourth intermediate, an expired one: each is dropped with that reason."""
    async with mesh_of(tmp_path, "h-a a-b") as nodes:
        h, a, b = nodes.values()
        await until(lambda: has_routes(nodes))
        x, y = (identity_of(name).fingerprint for name in "xy")
        good = crafted(h, b.fingerprint, [h.fingerprint])
        cases = [
            ("loop", crafted(h, b.fingerprint, [a.fingerprint, h.fingerprint])),
            ("loop", crafted(h, b.fingerprint, [h.fingerprint], origin=a.identity)),
            ("hop_limit", crafted(h, b.fingerprint, [x, y, h.fingerprint])),
            ("no_route", crafted(h, x, [h.fingerprint])),
            ("expired", crafted(h, b.fingerprint, [h.fingerprint], age_ms=60_050)),
            ("expired", crafted(h, b.fingerprint, [h.fingerprint], ttl_ms=60_001)),
            ("expired", crafted(h, b.fingerprint, [h.fingerprint], age_ms=-121_000)),
        ]
        for count, (reason, data) in enumerate(cases, 1):
            await h.cip.send_mesh(a.fingerprint, data, "relay")
            await until(lambda count=count: len(reasons(a)) == count)  # type: ignore[misc]
            assert reasons(a)[-1] == reason
        await h.cip.send_mesh(a.fingerprint, good, "relay")
        await until(lambda: a.mesh.routed == 1)
        await h.cip.send_mesh(a.fingerprint, good, "relay")
        await until(lambda: len(reasons(a)) > len(cases))
        assert reasons(a)[-1] == "seen"
        assert a.mesh.routed == 1
        assert reasons(b) == ["no_route"] or not reasons(b)  # its answer to a stranger finds no way


def respelled(data: bytes, **changes: Any) -> bytes:
    fields = json.loads(data)
    return rfc8785.dumps({key: value for key, value in (fields | changes).items() if value is not None})


def tampered(h: MeshNode, a: MeshNode, b: MeshNode) -> dict[str, bytes]:
    """What no honest neighbour hands over."""
    good = crafted(h, b.fingerprint, [h.fingerprint])
    own = crafted(h, a.fingerprint, [], origin=h.identity)
    key = base64.b64encode(h.identity.public_key).decode()
    return {
        "forged origin": respelled(good, origin=b.fingerprint),
        "key of another": respelled(good, pubkey=key),
        "other destination": respelled(good, destination=a.fingerprint),
        "other payload": respelled(good, payload={"stream": IDS.uuid4(), "kind": "reset", "offset": 0}),
        "last hop is another": crafted(h, b.fingerprint, [h.fingerprint, identity_of("x").fingerprint]),
        "no hop, origin is another": crafted(h, b.fingerprint, []),
        "the origin is a hop": crafted(h, b.fingerprint, [STRANGER.fingerprint, h.fingerprint]),
        "a hop twice": crafted(
            h, b.fingerprint, [h.fingerprint, identity_of("x").fingerprint, h.fingerprint]
        ),
        "unknown field": respelled(own, extra=1),
        "no ttl": respelled(own, ttl_ms=None),
        "no time": respelled(own, created_at=None),
        "no moment": respelled(own, created_at="2026-02-30T00:00:00.000Z"),
        "relay to everybody": crafted(h, m.BROADCAST, [h.fingerprint]),
        "a hello passed on": crafted(
            h,
            a.fingerprint,
            [h.fingerprint],
            payload=m.MeshRoutes(routes=(), withdrawn=(), whole=True),
        ),
        "too many bytes": respelled(
            own, payload={"stream": IDS.uuid4(), "kind": "data", "offset": 0, "data": "A" * 50_000}
        ),
    }


async def test_mesh_invalid_counts_against_the_neighbour_only(tmp_path: Path) -> None:
    """MESH-3, step 1; VAL-4: nobody else's trust moves, whoever the bytes name; none is passed on."""
    async with mesh_of(tmp_path, "h-a a-b") as nodes:
        h, a, b = nodes.values()
        await until(lambda: has_routes(nodes))
        before = {node.fingerprint: a.cip.trust.record(node.fingerprint) for node in (h, b)}
        for count, (name, data) in enumerate(tampered(h, a, b).items(), 1):
            channel: Any = "control" if "hello" in name else "relay"
            await h.cip.send_mesh(a.fingerprint, data, channel)
            await until(lambda count=count: len(reasons(a)) >= count)  # type: ignore[misc]
            assert reasons(a)[-1] == "invalid", name
        assert {fields["peer"] for fields in a.of("mesh_dropped")} == {h.fingerprint}
        assert {node.fingerprint: a.cip.trust.record(node.fingerprint) for node in (h, b)} == before
        assert a.cip.trust.state(STRANGER.fingerprint) == "unknown"
        assert a.mesh.routed == 0
        assert h.fingerprint in a.cip.peers()


async def test_mesh_flood_of_malformed_ends_that_session(tmp_path: Path) -> None:
    """VAL-4: 10 000 malformed envelopes: the session that brings them is closed, memory is bounded, others go on."""
    async with mesh_of(tmp_path, "h-a a-b b-c a-c") as nodes:
        h, a, b, c = nodes.values()
        await until(lambda: has_routes(nodes))
        bad = list(tampered(h, a, b).values())

        async def flood() -> None:
            for number in range(10_000):
                await h.cip.send_mesh(a.fingerprint, bad[number % len(bad)], "relay")

        with pytest.raises((rtt.RttError, NotConnectedError)):
            await flood()
        await until(lambda: h.fingerprint not in a.cip.peers())
        assert len(a.of("mesh_dropped")) <= 25
        assert len(a.mesh._passing._seen) < 1_000
        assert {a.cip.trust.state(node.fingerprint) for node in (b, c)} == {"trusted"}
        await until(lambda: h.fingerprint not in b.mesh.table.neighbours())
        assert b.mesh.route(a.fingerprint) is not None
        got = listening(nodes)
        a.mesh.broadcast(revoke(1))
        await until(lambda: got["b"] and got["c"])


async def test_mesh_routes_of_a_liar_are_bounded(tmp_path: Path) -> None:
    """MESH-4: ways over oneself, ways that begin elsewhere, impossible costs and too many of them are not taken in."""
    async with mesh_of(tmp_path, "h-a a-b") as nodes:
        h, a, b = nodes.values()
        await until(lambda: has_routes(nodes))
        x, y = (identity_of(name).fingerprint for name in "xy")
        lies = [
            ("loop", (h.fingerprint, a.fingerprint, x), 2.0),
            ("not_a_way", (y, x), 1.0),
            ("not_a_way", (h.fingerprint, x, x), 2.0),
            ("cost", (h.fingerprint, x), 0.0),
            ("too_long", (h.fingerprint, y, b.fingerprint, STRANGER.fingerprint, x), 4.0),
        ]
        for reason, path, cost in lies:
            vector = m.PathVector(destination=path[-1], path=path, cost=cost)
            offer = m.MeshRoutes(routes=(vector,), withdrawn=(), whole=False)
            data = crafted(h, a.fingerprint, [], origin=h.identity, payload=offer)
            await h.cip.send_mesh(a.fingerprint, data, "control")
            await until(lambda reason=reason: a.mesh.table.refused[reason])  # type: ignore[misc]
            assert a.mesh.route(x) is None
        cheap = m.PathVector(destination=b.fingerprint, path=(h.fingerprint, b.fingerprint), cost=1.0)
        assert a.mesh.route(b.fingerprint).path == (b.fingerprint,)  # type: ignore[union-attr]
        offer = m.MeshRoutes(routes=(cheap,), withdrawn=(), whole=False)
        await h.cip.send_mesh(
            a.fingerprint, crafted(h, a.fingerprint, [], origin=h.identity, payload=offer), "control"
        )
        for part in range(a.mesh.policy.destinations // 96 + 1):
            ends = [f"{part:032x}{number:032x}" for number in range(96)]
            vectors = tuple(
                m.PathVector(destination=end, path=(h.fingerprint, end), cost=1.0) for end in ends
            )
            offer = m.MeshRoutes(routes=vectors, withdrawn=(), whole=False)
            data = crafted(h, a.fingerprint, [], origin=h.identity, payload=offer)
            await h.cip.send_mesh(a.fingerprint, data, "control")
        await until(lambda: a.mesh.table.refused["rate"])
        policy = a.mesh.policy
        assert a.mesh.table.offered_by(h.fingerprint) < policy.changes_burst + 60 * policy.changes_per_second
        assert a.of("mesh_dropped", reason="rate")
        assert a.mesh.route(b.fingerprint).path == (b.fingerprint,)  # type: ignore[union-attr]


async def test_mesh_blackholing_hop_is_passed_by(tmp_path: Path) -> None:
    """MESH-5: a trusted hop that takes everything and passes nothing on: the session is opened by the other way."""
    async with mesh_of(tmp_path, "a-h a-c h-b c-b") as nodes:
        a, h, c, b = nodes.values()
        await until(lambda: has_routes(nodes))
        hop = h if a.mesh.route(b.fingerprint).next == h.fingerprint else c  # type: ignore[union-attr]

        async def nothing(*_: object) -> None:
            await trio.lowlevel.checkpoint()

        hop.mesh._passing.pass_on = nothing  # type: ignore[assignment]
        a.mesh.reach(b.fingerprint)
        with trio.fail_after(60):
            await a.cip.connected(b.fingerprint)
            await a.cip.send_intent(b.fingerprint, goal="ask", topic="here")
        await until(lambda: b.heard)
        assert a.mesh.route(b.fingerprint).next != hop.fingerprint  # type: ignore[union-attr]


@pytest.mark.parametrize("who", ["origin", "destination"])
async def test_mesh_blocked_ends_are_not_served(tmp_path: Path, who: str) -> None:
    """MESH-3, step 2: what comes from, or goes to, a blacklisted node is dropped, whoever hands it over."""
    async with mesh_of(tmp_path, "h-a a-b") as nodes:
        h, a, b = nodes.values()
        await until(lambda: has_routes(nodes))
        blocked = STRANGER.fingerprint if who == "origin" else identity_of("x").fingerprint
        to = b.fingerprint if who == "origin" else blocked
        await a.cip.trust_command(blocked, OperatorBlock(at_ms=START_MS, human="eva", reason="test"))
        await h.cip.send_mesh(a.fingerprint, crafted(h, to, [h.fingerprint]), "relay")
        await until(lambda: reasons(a))
        assert reasons(a) == ["blocked"]
