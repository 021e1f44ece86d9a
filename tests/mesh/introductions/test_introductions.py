"""Introductions on lane `server`, with a real TrustFSM behind them (MESH-9 to MESH-11, MESH-13, KNOW-3)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.actors.jobs import Said, opened
from tests.mesh.people import KeptTrust, altered, identity, pubkey, seal_mesh
from web4.actors import open_lane_actors
from web4.foundation.clock import format_timestamp
from web4.foundation.errors import SignatureMismatchError
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore
from web4.mesh.introductions.errors import IntroductionError
from web4.mesh.introductions.introductions import Introductions
from web4.mesh.registry.errors import AddressError
from web4.mesh.registry.registry import PeerRegistry
from web4.mesh.server_lane import server_lane
from web4.protocols.messages.mesh import MeshIntroduce, MeshRevoke
from web4.testing.clocks import TrioClock
from web4.trust import Anchored, HandshakeOk, KnowledgeVerified, OperatorBlock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOUR_MS = 3_600_000
ME, ANN, BEN, CAT, DAN = (identity(one) for one in range(1, 6))
HERE = "tcp://10.0.0.7:7440"


class Node:
    """A node that hears introductions and gives them: everything but the wire."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.trust = KeptTrust()
        self.said = Said()
        self.sent: list[Any] = []
        self.clock = TrioClock()
        self.ids = SeededIds(7)

    def broadcast(self, payload: MeshIntroduce | MeshRevoke) -> str:
        self.sent.append(payload)
        return self.ids.uuid4()

    @asynccontextmanager
    async def up(self, *, run: bool = True) -> AsyncIterator[Introductions]:
        registry = PeerRegistry(own=ME.fingerprint, clock=self.clock, emit=self.said)
        introductions = Introductions(
            own=ME.fingerprint,
            trust=self.trust.registry,
            command=self.trust,
            registry=registry,
            broadcast=self.broadcast,
            clock=self.clock,
            ids=self.ids,
            emit=self.said,
        )
        self.registry, self.introductions = registry, introductions
        async with (
            opened(self.store, events=(), emit=self.said) as journal,
            open_lane_actors(journal, {"server": server_lane(introductions=introductions.part)}) as actors,
            trio.open_nursery() as nursery,
        ):
            registry.bind(actors)
            introductions.bind(actors)
            await registry.load()
            if run:
                nursery.start_soon(introductions.run)
            yield introductions
            nursery.cancel_scope.cancel()

    def now(self) -> int:
        return self.clock.wall_ms()

    def state(self, one: Any) -> str:
        return self.trust.registry.state(one.fingerprint)

    async def trusts(self, *them: Any) -> None:
        for one in them:
            await self.trust(one.fingerprint, Anchored(at_ms=self.now()))

    def introduction(self, subject: Any, **more: Any) -> MeshIntroduce:
        fields: dict[str, Any] = {
            "intro_id": self.ids.uuid4(),
            "subject": subject.fingerprint,
            "pubkey": pubkey([ME, ANN, BEN, CAT, DAN].index(subject) + 1),
            "addresses": (HERE,),
            "expires_at": format_timestamp(self.now() + HOUR_MS),
        }
        return MeshIntroduce(**{**fields, **more})

    async def hear(self, origin: Any, subject: Any, **more: Any) -> tuple[str, MeshIntroduce]:
        said = self.introduction(subject, **more)
        envelope, _ = seal_mesh(origin, said, id=self.ids.uuid4(), now_ms=self.now())
        verdict = await self.introductions.introduced(envelope)
        await trio.testing.wait_all_tasks_blocked()
        return verdict, said

    async def hear_revoked(self, origin: Any, said: MeshIntroduce, **more: Any) -> str:
        revoke = MeshRevoke(
            **{"intro_id": said.intro_id, "subject": said.subject, "reason": "it left", **more}
        )
        envelope, _ = seal_mesh(origin, revoke, id=self.ids.uuid4(), now_ms=self.now())
        verdict = await self.introductions.revoked(envelope)
        await trio.testing.wait_all_tasks_blocked()
        return verdict


async def test_mesh_introduction_probing_only() -> None:
    """MESH-10: an introduced peer is probing and needs its own verification to rise; nobody else is moved."""
    node = Node()
    async with node.up():
        await node.trusts(ANN)
        verdict, said = await node.hear(ANN, BEN)
        assert verdict == "asked"
        record = node.trust.registry.record(BEN.fingerprint)
        assert (record.state, record.introducer, record.unverified) == ("probing", ANN.fingerprint, True)
        known = node.registry.get(BEN.fingerprint)
        assert known is not None
        assert (known.entry.source, known.entry.addresses) == ("introduced", (HERE,))
        for _ in range(3):
            await node.hear(ANN, BEN)
        assert node.state(BEN) == "probing", "introduced again and again, it is no more"
        await node.trust(BEN.fingerprint, HandshakeOk(at_ms=node.now()))
        assert node.state(BEN) == "probing"
        await node.trust(BEN.fingerprint, KnowledgeVerified(at_ms=node.now(), claim_key="9" * 64))
        assert node.state(BEN) == "trusted", "its own verification raised it"
        assert node.trust.registry.record(BEN.fingerprint).introducer == ANN.fingerprint

        # Who is known already stays what it is, whatever is said of them.
        await node.trust(CAT.fingerprint, OperatorBlock(at_ms=node.now(), human="ada", reason="no"))
        await node.trusts(DAN)
        for subject in (CAT, DAN):
            assert (await node.hear(ANN, subject))[0] == "asked"
        assert (node.state(CAT), node.state(DAN), node.state(ANN)) == ("blacklisted", "trusted", "trusted")
        assert not node.registry.has(CAT.fingerprint)
        envelope, _ = seal_mesh(ANN, said, id=node.ids.uuid4(), now_ms=node.now())
        assert await node.introductions.introduced(envelope) == "duplicate"


async def test_who_may_introduce() -> None:
    """MESH-10: a trusted peer, and not one that is itself here by an introduction alone (depth 1)."""
    node = Node()
    async with node.up():
        assert (await node.hear(BEN, CAT))[0] == "not_trusted"
        await node.trust(BEN.fingerprint, HandshakeOk(at_ms=node.now()))
        assert (await node.hear(BEN, CAT))[0] == "not_trusted"
        await node.trusts(ANN)
        await node.hear(ANN, DAN)
        await node.trust(DAN.fingerprint, KnowledgeVerified(at_ms=node.now(), claim_key="9" * 64))
        assert node.state(DAN) == "trusted"
        assert (await node.hear(DAN, CAT))[0] == "depth", "trusted, and never came itself"
        await node.trust(DAN.fingerprint, HandshakeOk(at_ms=node.now()))
        assert (await node.hear(DAN, CAT))[0] == "asked"
        assert node.state(CAT) == "probing"
        for subject in (ME, ANN):
            assert (await node.hear(ANN, subject))[0] == "self"
        late = format_timestamp(node.now())
        assert (await node.hear(ANN, CAT, expires_at=late))[0] == "expired"
        assert (await node.hear(ANN, CAT, expires_at="2026-02-31T00:00:00.000Z"))[0] == "expired"
        long = format_timestamp(node.now() + 25 * HOUR_MS)
        assert (await node.hear(ANN, CAT, expires_at=long))[0] == "too_long"
    dropped = [fields["reason"] for fields in node.said.of("mesh_dropped")]
    assert dropped == [
        "not_trusted",
        "not_trusted",
        "depth",
        "self",
        "self",
        "expired",
        "expired",
        "too_long",
    ]


async def test_an_address_of_this_machine_is_not_taken_from_others() -> None:
    """What another node tells cannot send this one to a place of its own."""
    node = Node()
    async with node.up():
        await node.trusts(ANN)
        told = ("unix:///run/x.sock", "nonsense", HERE, f"mesh://{CAT.fingerprint}", "tcp://x:1\n")
        await node.hear(ANN, BEN, addresses=told)
        known = node.registry.get(BEN.fingerprint)
        assert known is not None
        assert known.entry.addresses == (HERE,)


async def test_mesh_revoked_introducer() -> None:
    """MESH-11: revocation, and the introducer's loss of trust: unverified subjects fall, verified ones stay."""
    node = Node()
    async with node.up():
        await node.trusts(ANN)
        _, ben = await node.hear(ANN, BEN)
        _, cat = await node.hear(ANN, CAT)
        await node.hear(ANN, DAN)
        await node.trust(CAT.fingerprint, HandshakeOk(at_ms=node.now()))
        assert await node.hear_revoked(BEN, ben) == "not_trusted", "only its origin takes it back"
        assert node.state(BEN) == "probing"
        assert await node.hear_revoked(ANN, ben) == "ended"
        assert await node.hear_revoked(ANN, cat) == "ended"
        assert (node.state(BEN), node.state(CAT), node.state(DAN)) == ("untrusted", "probing", "probing")
        block = OperatorBlock(at_ms=node.now(), human="ada", reason="it lies")
        await node.trust(ANN.fingerprint, block)
        await trio.testing.wait_all_tasks_blocked()
        assert (node.state(CAT), node.state(DAN)) == ("probing", "untrusted")
        assert (await node.introductions.state()).heard == {}
        lost = [peer for peer, event in node.trust.heard if event == "introducer_lost"]
        assert sorted(lost) == sorted(one.fingerprint for one in (BEN, CAT, DAN))
    # The envelope was signed, but it is over: it brings nobody back.
    async with node.up():
        envelope, _ = seal_mesh(ANN, ben, id=node.ids.uuid4(), now_ms=node.now())
        assert await node.introductions.introduced(envelope) == "not_trusted"


async def test_a_renewed_introduction_holds_the_subject() -> None:
    """Who is introduced twice by the same peer falls with the last of the two, and not before."""
    node = Node()
    async with node.up():
        await node.trusts(ANN, DAN)
        _, first = await node.hear(ANN, BEN)
        _, second = await node.hear(ANN, BEN)
        _, others = await node.hear(DAN, BEN)
        assert await node.hear_revoked(DAN, others) == "ended"
        assert await node.hear_revoked(ANN, first) == "ended"
        assert node.state(BEN) == "probing"
        assert await node.hear_revoked(ANN, second) == "ended"
        assert node.state(BEN) == "untrusted"


async def test_an_introduction_expires(autojump_clock: trio.testing.MockClock) -> None:
    """MESH-11: at `expires_at`, not before; over a restart too."""
    node = Node()
    async with node.up():
        await node.trusts(ANN)
        await node.hear(ANN, BEN)
        await node.hear(ANN, CAT, expires_at=format_timestamp(node.now() + 2 * HOUR_MS))
        await trio.sleep(3_599)
        assert node.state(BEN) == "probing"
        await trio.sleep(2)
        assert (node.state(BEN), node.state(CAT)) == ("untrusted", "probing")
    await trio.sleep(2 * 3_600)
    async with node.up():
        await trio.testing.wait_all_tasks_blocked()
        assert node.state(CAT) == "untrusted"


async def test_a_forged_introduction_is_held_against_its_origin_alone() -> None:
    """MESH-10, VAL-4: only if the origin itself signed it. Whoever changes another's words harms nobody."""
    node = Node()
    async with node.up():
        await node.trusts(ANN, DAN)
        said = node.introduction(BEN)
        honest, data = seal_mesh(ANN, said, id=node.ids.uuid4(), now_ms=node.now())
        wrong = {**msgspec.to_builtins(said), "pubkey": pubkey(4)}
        framed = altered(data, payload=wrong)
        envelope = msgspec.json.decode(framed, type=type(honest))
        with pytest.raises(SignatureMismatchError) as caught:
            await node.introductions.introduced(envelope)
        assert caught.value.code == "signature"
        # With another's key the signature fits, and the origin is not the one that signed.
        _, by_dan = seal_mesh(DAN, msgspec.convert(wrong, MeshIntroduce), id=honest.id, now_ms=node.now())
        framed = altered(by_dan, origin=ANN.fingerprint)
        with pytest.raises(SignatureMismatchError) as caught:
            await node.introductions.introduced(msgspec.json.decode(framed, type=type(honest)))
        assert caught.value.code == "identity"
        assert (node.state(ANN), node.state(DAN), node.state(BEN)) == ("trusted", "trusted", "unknown")
        assert (await node.hear(DAN, BEN, pubkey=pubkey(4)))[0] == "forged"
        assert (node.state(DAN), node.state(ANN), node.state(BEN)) == ("blacklisted", "trusted", "unknown")
        event = next(fsm for fsm in node.trust.registry if fsm.peer == DAN.fingerprint).log[-1]
        assert (event.event, event.reason) == ("malicious_evidence", "forged introduction")
        assert event.evidence[0].msg_id is not None


async def test_gossip_is_a_note_for_the_operator() -> None:
    """MESH-11: what a peer says about a third changes nothing here."""
    node = Node()
    async with node.up():
        await node.trusts(ANN, BEN)
        said = node.introduction(BEN)
        assert await node.hear_revoked(ANN, said, reason="a liar " * 100) == "noted"
        assert await node.hear_revoked(ANN, said) == "duplicate"
        assert await node.hear_revoked(CAT, said) == "not_trusted"
        (note,) = (await node.introductions.state()).notes
        assert (note.origin, note.subject, len(note.text)) == (ANN.fingerprint, BEN.fingerprint, 200)
        assert (node.state(BEN), node.state(ANN)) == ("trusted", "trusted")
        # Its introduction, should it come later, was taken back before (MESH-13: any order ends alike).
        envelope, _ = seal_mesh(ANN, said, id=node.ids.uuid4(), now_ms=node.now())
        assert await node.introductions.introduced(envelope) == "duplicate"
    assert [one["change"] for one in node.said.of("topology_changed")] == ["revocation_noted"]


async def test_this_node_introduces(autojump_clock: trio.testing.MockClock) -> None:
    """MESH-10, MESH-13: told at once and again, taken back by itself, outliving a restart."""
    node = Node()
    async with node.up() as introductions:
        refused: tuple[tuple[Any, Any, dict[str, Any], str], ...] = (
            (BEN, BEN, {}, "subject_not_trusted"),
            (ANN, ANN, {}, "subject_not_trusted"),
            (ANN, BEN, {}, "wrong_key"),
            (ANN, ANN, {"lifetime_ms": 25 * HOUR_MS}, "lifetime"),
        )
        for subject, key, more, code in refused:
            if code == "wrong_key":
                await node.trust(ANN.fingerprint, HandshakeOk(at_ms=node.now()))
            elif subject is ANN:
                await node.trusts(ANN)
            with pytest.raises(IntroductionError) as caught:
                await introductions.introduce(subject.fingerprint, key.public_key, **more)
            assert caught.value.code == code
        with pytest.raises(AddressError):
            await introductions.introduce(ANN.fingerprint, ANN.public_key, ["unix:///x.sock"])
        intro_id = await introductions.introduce(ANN.fingerprint, ANN.public_key, [HERE])
        (first,) = node.sent
        assert isinstance(first, MeshIntroduce)
        assert (first.intro_id, first.subject, first.addresses) == (intro_id, ANN.fingerprint, (HERE,))
        await trio.sleep(301)
        assert node.sent == [first, first]
        introductions.announce()
        await trio.testing.wait_all_tasks_blocked()
        assert node.sent == [first] * 3
    node.sent.clear()
    await node.trust(
        ANN.fingerprint, OperatorBlock(at_ms=node.now(), human="ada", reason="it was not itself")
    )
    async with node.up() as introductions:
        await trio.testing.wait_all_tasks_blocked()
        (revoke,) = node.sent
        assert isinstance(revoke, MeshRevoke)
        assert (revoke.intro_id, revoke.reason) == (intro_id, "it is not trusted any more")
        with pytest.raises(IntroductionError):
            await introductions.revoke(intro_id, "again")
        await trio.sleep(86_400)
        count = len(node.sent)
        await trio.sleep(3_600)
        assert len(node.sent) == count, "what would have expired is told no more"


async def test_trust_hears_of_it_after_a_crash() -> None:
    """ACT-3, JRN-13: a node that died before trust had heard tells it at its next start, once."""
    node = Node()
    hang = trio.Event()
    real = node.trust

    async def hanging(peer: str, command: Any, *, cause: str | None = None) -> Any:
        await hang.wait()
        return await real(peer, command, cause=cause)

    with trio.CancelScope() as crash:
        await node.trusts(ANN)
        node.trust = hanging  # type: ignore[assignment]
        node.trust.registry = real.registry
        async with node.up():
            await node.hear(ANN, BEN)
            crash.cancel()
            await trio.sleep_forever()
    node.trust = real
    assert node.state(BEN) == "unknown"
    async with node.up():
        await trio.testing.wait_all_tasks_blocked()
        assert node.state(BEN) == "probing"
        assert [event for _, event in real.heard].count("introduced") == 1
        (intro,) = (await node.introductions.state()).heard.values()
        assert intro.standing == "effective"
