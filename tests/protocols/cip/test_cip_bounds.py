"""What a peer can make a node hold or say: bounded, whatever it sends (LIM-1, CIP-2, VAL-4)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.protocols.cip.examples import (
    ADA,
    BOB,
    EVE,
    EVERYTHING,
    HELLO,
    INTENT,
    PAYLOADS,
    RESPONSE,
    Pair,
    sealed,
)
from web4.actors.errors import MailboxFullError
from web4.actors.lane_writer import LaneWriter
from web4.actors.rebuilding import rebuild
from web4.foundation.errors import InvalidEnvelopeError
from web4.journal.backends.memory import MemoryStore, open_memory
from web4.journal.event_types import EventRegistry
from web4.journal.lane import Lane
from web4.journal.opening import open_journal
from web4.protocols.cip import Delivery, Inbox
from web4.protocols.cip.durable_lane import peer_definition
from web4.protocols.cip.handshake import Closed, HandshakeStep, Opened
from web4.protocols.cip.lane import PEER_EVENTS
from web4.protocols.cip.meters import SlidingWindow
from web4.protocols.cip.options import CipOptions
from web4.protocols.cip.peer_state import PeerState
from web4.protocols.cip.stranger import MAX_COMMANDS, Stranger
from web4.protocols.messages import cip as m
from web4.trust import EvidenceStore, HandshakeOk, OperatorBlock

MANY = tuple(f"c{number}" for number in range(5_000))


def test_a_hello_full_of_names_leaves_none_of_them_behind() -> None:
    """HS-4: only what both offer is kept, in the state and in the log, which holds a thousand steps."""
    pair = Pair()
    hello = msgspec.structs.replace(
        HELLO,
        capabilities=(*MANY, *EVERYTHING.capabilities),
        protocols=("cip/1.0", *(f"p/{number}.0" for number in range(2_000))),
    )
    pair.bob.do(pair.bob.session.start())
    pair.bob.do(pair.bob.session.receive(sealed(hello), "control"))
    state = pair.bob.session.state
    assert state is not None
    assert state.phase == "verifying"
    assert state.peer is not None
    assert state.peer.offer.protocols == ("cip/1.0",)
    assert set(state.peer.offer.capabilities) == set(EVERYTHING.capabilities)
    assert state.agreement is not None
    assert set(state.agreement.capabilities) == set(EVERYTHING.capabilities)
    steps = [event for event in pair.bob.peer(ADA.fingerprint).lane.log if isinstance(event, HandshakeStep)]
    assert len(msgspec.json.encode(steps)) < 5_000


def delivery(peer: str, size: int) -> Delivery:
    pair = Pair().start()
    pair.say(pair.ada, PAYLOADS["FACT_PROPOSE"][0])
    (item,) = pair.bob.deliveries
    return msgspec.structs.replace(item.delivery, peer=peer, size=size)


async def test_the_inbox_is_bounded_in_bytes() -> None:
    """A few messages of 192 KiB are as much as many small ones; room comes back with reading and purging."""
    inbox = Inbox(per_peer=100, total=100, bytes_per_peer=1_000, bytes_total=1_500)
    assert inbox.put(delivery("a", 999))
    assert inbox.put(delivery("a", 1))
    assert not inbox.put(delivery("a", 1))
    assert inbox.put(delivery("b", 500))
    assert not inbox.room("c"), "all together"
    await anext(inbox)
    assert inbox.room("a")
    assert inbox.room("c")
    inbox.purge("b")
    assert inbox.put(delivery("c", 1_000))
    assert inbox.put(delivery("a", 499))
    assert not inbox.room("b")


def test_a_delivery_knows_its_size() -> None:
    pair = Pair().start()
    letter = pair.say(pair.ada, PAYLOADS["FACT_PROPOSE"][0])
    assert [item.delivery.size for item in pair.bob.deliveries] == [len(letter.data)]


def test_a_stranger_cannot_fill_the_evidence_store() -> None:
    """VAL-4, TRUST-10: nothing is recorded of somebody unknown, so no event cites what it sent."""
    pair = Pair()
    pair.bob.do(pair.bob.session.start())
    pair.bob.do(pair.bob.session.receive(sealed(INTENT).replace(b"wetter", b"wottor"), "knowledge"))
    assert pair.bob.closed == "auth_failure"
    assert pair.bob.trust.state(ADA.fingerprint) == "unknown"
    assert pair.bob.context.evidence._held == {}


def test_a_bad_response_is_evidence() -> None:
    """TRUST-7: the event of a bad response cites the message, and it is kept."""
    pair = Pair().start()
    pair.act(pair.ada, pair.ada.session.verify_again())
    answer = msgspec.structs.replace(HELLO, challenge_response=RESPONSE)
    pair.wire.clear()
    data = sealed(answer, sender=BOB, receiver=ADA)
    pair.ada.do(pair.ada.session.receive(data, "control"))
    assert pair.ada.closed == "bad_response"
    fsm = pair.ada.trust.fsm(BOB.fingerprint)
    assert fsm is not None
    (cited,) = fsm.log[-1].evidence
    assert (fsm.log[-1].event, pair.ada.context.evidence.get(cited.blake3)) == ("auth_failure", data)


@pytest.mark.parametrize("corr_id", ["", "chat-7", "99999999-AAAA-1bbb-8ccc-dddddddddddd"])
def test_a_conversation_without_a_uuid_is_refused_here(corr_id: str) -> None:
    """ENV-1: the peer would count it against us."""
    pair = Pair().start()
    with pytest.raises(InvalidEnvelopeError) as refused:
        pair.ada.session.send(INTENT, corr_id=corr_id)
    assert (refused.value.code, refused.value.field) == ("field", "corr_id")


def test_a_window_slides() -> None:
    """CIP-2: ten in any second, not ten at once and ten more as they grow back."""
    window = SlidingWindow(2)
    second = 1_000_000_000
    assert [window.take(at) for at in (0, second // 2, second - 1, second, second + 1, second * 3 // 2)] == [
        True, True, False, True, False, True,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="room"):
        SlidingWindow(0)


def test_errors_are_limited_in_every_second() -> None:
    """CIP-2: faults every 50 ms for three seconds: at most ten ERRORs in any second of them."""
    pair = Pair(options=CipOptions(agent_id="bob", offer=EVERYTHING, faults_per_minute=1_000)).start()
    told: list[int] = []
    for step in range(60):
        pair.clock.advance(50)
        before = len(pair.bob.sent)
        pair.bob.do(pair.bob.session.receive(b"{", "knowledge"))
        told += [step * 50] * (len(pair.bob.sent) - before)
    assert max(sum(begin <= at < begin + 1_000 for at in told) for begin in told) == 10
    assert len(told) == 30


@pytest.mark.parametrize("name", ["ERROR", "RECEIPT"])
def test_a_flood_of_errors_causes_none(name: str) -> None:
    """CIP-2: two nodes that rate-limit each other must not answer ERROR with ERROR."""
    options: dict[str, Any] = {"messages_per_second": 10, "message_burst": 5}
    pair = Pair(options=CipOptions(agent_id="bob", offer=EVERYTHING, **options)).start()
    before = len(pair.bob.sent)
    for _ in range(20):
        pair.bob.do(pair.bob.session.receive(sealed(PAYLOADS[name][0]), "control"))
    assert len(pair.bob.sent) == before
    limited = [fields for _, fields in pair.bob.events if fields.get("code") == "rate_limited"]
    assert len(limited) == 1, "the event is there all the same"


@pytest.mark.parametrize("what", ["foreign_sender", "equivocation"])
def test_malice_of_newcomers_beyond_the_hour_leaves_no_record(what: str) -> None:
    """TRUST-10: a thousand keys are enough for an hour, also of those that come only to be blacklisted."""
    pair = Pair()
    pair.bob.do(pair.bob.session.start())
    for number in range(pair.bob.trust.limits.newcomers_per_hour):
        pair.bob.trust.handle(f"{number:064x}", HandshakeOk(at_ms=pair.clock.wall_ms()))
    before = len(pair.bob.trust)
    if what == "foreign_sender":
        pair.bob.do(pair.bob.session.receive(sealed(INTENT, sender=EVE), "knowledge"))
    else:
        for code in ("gate", "busy"):
            pair.bob.do(pair.bob.session.receive(sealed(m.Error(code=code)), "control"))
    assert pair.bob.closed in {"auth_failure", "blacklisted"}
    assert (len(pair.bob.trust), pair.bob.trust.state(ADA.fingerprint)) == (before, "unknown")
    assert pair.bob.context.evidence._held == {}


def test_a_blacklisted_peer_is_told_nothing() -> None:
    """CIP-2: ERRORs never go to blacklisted peers, whatever they send before their session is gone."""
    pair = Pair().start()
    pair.bob.trust.handle(ADA.fingerprint, OperatorBlock(at_ms=0, human="bob", reason="enough"))
    sent = len(pair.bob.sent)
    for data in (b"{", sealed(INTENT, now_ms=0), sealed(INTENT, receiver=ADA)):
        pair.bob.do(pair.bob.session.receive(data, "knowledge"))
    assert len(pair.bob.sent) == sent


def test_a_peer_with_a_session_is_not_idle() -> None:
    """REP-1: however long it is silent, its lane stays while a handshake of it is held."""
    pair = Pair().start()
    peer = pair.bob.peer(ADA.fingerprint)
    assert not peer.idle(pair.clock.wall_ms() + 10**9)
    pair.bob.session.closed()
    assert peer.idle(pair.clock.wall_ms() + 10**9)


async def test_a_stranger_is_held_within_a_bound() -> None:
    """LIM-1: what is held of a peer without a record has an end, and is forgotten with its last session."""
    store, lane, definition = MemoryStore(), Lane("peer", ADA.fingerprint), peer_definition()
    async with (
        open_memory(store) as backend,
        open_journal(backend, registry=EventRegistry(PEER_EVENTS)) as journal,
    ):
        nothing = await rebuild(journal, lane, definition)
        stranger = Stranger(lambda: LaneWriter(journal, lane, definition, nothing))
        for number in range(MAX_COMMANDS):
            stranger.decide(Opened(session_id=f"{number}", at_ms=1, role="responder"))
        with pytest.raises(MailboxFullError):
            stranger.decide(Opened(session_id="one more", at_ms=1, role="responder"))
        for number in range(MAX_COMMANDS):
            stranger.decide(Closed(session_id=f"{number}", at_ms=2))
        assert (stranger.commands, stranger.writer.queued, stranger.state) == (0, 0, PeerState())
        assert len(stranger.tell()) == 2 * MAX_COMMANDS
        assert (stranger.tell(), stranger.told) == ([], 0)
        assert (await journal.head(lane)).seq == 0
    assert lane not in store.owners


def test_an_envelope_that_tells_against_two_is_a_blob_before_either_event() -> None:
    """JRN-8b: the second peer's event must not rest on the first one's way into blobs."""
    store = EvidenceStore(blobs=True)
    assert store.put("one", "digest", b"envelope")
    assert store.put("other", "digest", b"envelope")
    assert store.put("other", "digest", b"envelope"), "and not twice"
    assert store.leaving("other") == ("digest", b"envelope")
    store.gone("other")
    assert store.leaving("other") is None
    assert store.leaving("one") == ("digest", b"envelope")
    store.gone("one")
    assert store.get("digest") is None
