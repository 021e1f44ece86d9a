"""A wall clock that is set back: nothing is accepted twice, nothing waits for a day (REP-1, REP-2, OUT-3, KNOW-2)."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocols.cip.examples import ADA, BOB, FACT, PAYLOADS, TRACE, Pair
from tests.protocols.cip.nodes import Node, nodes, until
from tests.protocols.cip.test_cip_replay import hear, state_update
from web4.journal.backends.memory import MemoryStore
from web4.protocols.cip.outbox.entries import Queued
from web4.protocols.cip.outbox.known_ids import KnownIds
from web4.protocols.cip.outbox.queue import OutboxQueue
from web4.protocols.cip.replay import Heard, ReplayLimits, ReplayWindow
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
BACK = pytest.mark.parametrize("back_ms", [SECOND, HOUR, DAY])
LIMITS = ReplayLimits()


@BACK
def test_a_window_that_has_let_go_hears_on(back_ms: int) -> None:
    """REP-1: after an hour of messages, one of now is fresh whatever the clock did; what is held is known."""
    window = ReplayWindow()
    for number in range(60):
        window = hear(window, b"%d" % number, START_MS + number * MINUTE, LIMITS)
    last = START_MS + 59 * MINUTE
    assert window.forgot_ms > START_MS
    now = last - back_ms
    for step in range(20):
        at_ms, key = now + step * 10 * SECOND, b"new %d" % step
        verdict = window.judge(key, b"c", at_ms=at_ms, timestamp_ms=at_ms, limits=LIMITS)
        assert verdict.kind == "fresh", step
        heard = Heard(b"c", b"envelope")
        anew = window.is_ahead(at_ms)
        window = window.remembering(key, heard, at_ms=at_ms, limits=LIMITS, anew=anew)
        assert window.judge(key, b"c", at_ms=at_ms, timestamp_ms=at_ms, limits=LIMITS).kind == "duplicate"
    known = window.judge(b"59", b"59", at_ms=now, timestamp_ms=last, limits=LIMITS)
    assert known.kind != "fresh", "it was heard a moment ago"


def test_a_clock_that_comes_there_again_holds_back_nobody() -> None:
    """REP-1: a day after it was set back by one, the time that was let go then stands in nobody's way."""
    window = ReplayWindow()
    for number in range(60):
        window = hear(window, b"%d" % number, START_MS + number * MINUTE, LIMITS)
    for number in range(0, 26 * 60, 2):
        at_ms = START_MS + HOUR - DAY + number * MINUTE
        verdict = window.judge(b"n%d" % number, b"c", at_ms=at_ms, timestamp_ms=at_ms, limits=LIMITS)
        assert verdict.kind == "fresh", number
        anew, one = window.is_ahead(at_ms), Heard(b"c", b"e")
        window = window.remembering(b"n%d" % number, one, at_ms=at_ms, limits=LIMITS, anew=anew)


@BACK
def test_a_full_index_of_ids_refuses_for_minutes_at_most(back_ms: int) -> None:
    """REP-1: no live id is forgotten for a flood; but a clock set back a day does not make it last a day."""
    limits, week = ReplayLimits(ids=80), 7 * DAY
    known = KnownIds()
    for number in range(80):
        room = known.room(START_MS, limits, week)
        assert room.retry_after_ms is None
        key = uuid.UUID(int=number).bytes
        known = known.adding(key, Heard(b"c", b"e"), START_MS, begins=room.begins, lets_go=room.lets_go)
    assert known.room(START_MS, limits, week).retry_after_ms is not None
    wait = known.room(START_MS - back_ms, limits, week).retry_after_ms or 0
    assert wait <= 2 * limits.retention_ms + 1
    assert (wait > 0) is (back_ms == SECOND)


@BACK
def test_state_updates_are_heard_on(back_ms: int) -> None:
    """REP-2: both clocks were set back: the first update of the new time counts within the skew, or at once."""
    pair = Pair()
    pair.start()
    peer = pair.bob.peer(ADA.fingerprint)
    uid = "00000000-0000-4000-8000-00000000000{}".format
    pair.bob.do(pair.bob.session.receive(state_update(START_MS, uid(1), lri=90), "state"))
    assert peer.newest_state is not None
    pair.clock.set_wall(START_MS - back_ms)
    pair.bob.do(pair.bob.session.receive(state_update(START_MS - back_ms, uid(2), lri=9), "state"))
    assert peer.newest_state.lri == (90 if back_ms == SECOND else 9)
    pair.clock.set_wall(START_MS - back_ms + SECOND)
    pair.bob.do(pair.bob.session.receive(state_update(START_MS - back_ms + SECOND, uid(3), lri=8), "state"))
    assert peer.newest_state.lri == 8


def vote(number: int, at_ms: int) -> Queued:
    return Queued(
        number=number,
        msg_id=f"{number}",
        type="FACT_REJECT",
        channel="knowledge",
        at_ms=at_ms,
        size=1,
        body="{}",
    )


def test_votes_rise_although_the_clock_was_set_back() -> None:
    """KNOW-2, MESH-12: a second back, also over a restart, a withdrawal is still later than what it withdraws."""
    queue = OutboxQueue()
    stamps = [queue.stamp_ms(vote(n, START_MS), START_MS - n * 500) for n in range(20)]
    assert stamps == sorted(set(stamps))
    restarted = OutboxQueue()
    restarted.load([vote(20, START_MS)], stamps[-1])
    assert restarted.stamp_ms(vote(21, START_MS), START_MS - 10 * SECOND) > stamps[-1]
    assert restarted.stamp_ms(vote(22, START_MS), START_MS - DAY) == START_MS - DAY, (
        "else nobody would hear it"
    )


# --- nodes --------------------------------------------------------------------------------------------------


def set_back(back_ms: int, *some: Node) -> None:
    for one in some:
        one.clock.set_wall(one.clock.wall_ms() - back_ms)


async def says(one: Node, to: Node) -> str:
    """A fact that is sent, and concluded as delivered."""
    msg_id = await one.cip.propose_fact(to.identity.fingerprint, FACT, TRACE)
    conclusion = await one.cip.concluded(to.identity.fingerprint, msg_id)
    assert conclusion is not None
    assert conclusion.outcome == "delivered"
    return msg_id


async def taken(one: Node) -> list[str]:
    """What waits for the application, settled."""
    found = []
    while len(one.cip.inbox):
        delivery = await anext(one.cip.inbox)
        await one.cip.settled(delivery)
        found.append(delivery.msg_id)
    return found


@BACK
async def test_two_nodes_go_on(clock: MockClock, tmp_path: Path, back_ms: int) -> None:
    """REP-2, OUT-3: in the session that is there, in a new one, and over a restart: each message once, none held up."""
    stores: dict[str, Any] = {"ada": {"store": MemoryStore()}, "bob": {"store": MemoryStore()}}
    async with nodes(tmp_path, **stores) as (ada, bob):
        first = await ada.dial(bob)
        await ada.cip.established(first)
        sent = [await says(ada, bob)]
        set_back(-15 * MINUTE, ada, bob)  # the window lets go what it heard
        sent.append(await says(ada, bob))
        set_back(back_ms, ada, bob)
        sent += [await says(ada, bob), await says(ada, bob)]
        back = await says(bob, ada)
        assert await taken(ada) == [back]
        first.abort("cut")
        await until(lambda: not ada.cip._links and not bob.cip._links)
        await ada.cip.established(await ada.dial(bob))
        sent.append(await says(ada, bob))
        assert await taken(bob) == sent
        trusted = bob.cip.trust.record(ADA.fingerprint)
    (tmp_path / "again").mkdir()
    async with nodes(tmp_path / "again", **stores) as (ada, bob):
        set_back(2 * back_ms - 15 * MINUTE, ada, bob)  # and once more, while they were away
        assert bob.cip.trust.record(ADA.fingerprint) == trusted
        await ada.cip.established(await ada.dial(bob))
        last = await says(ada, bob)
        assert await taken(bob) == [last], "and nothing of before"
        assert bob.count("error") == 0
        live = bob.cip._peers[ADA.fingerprint].lane.state
        assert len(live.handshakes) == 1


@BACK
async def test_what_was_heard_is_known_after_it(clock: MockClock, tmp_path: Path, back_ms: int) -> None:
    """REP-3: the same bytes are refused or receipted once more, and never delivered again, when the time is there."""
    async with nodes(tmp_path, ada={"store": MemoryStore()}, bob={"store": MemoryStore()}) as (ada, bob):
        session = await ada.dial(bob)
        await ada.cip.established(session)
        (link,) = ada.cip._links.of(BOB.fingerprint)
        letter, _ = link.session.send(PAYLOADS["FACT_PROPOSE"][0])
        channel = await link._channels.get("knowledge")
        await channel.send(letter.data)
        delivery = await anext(bob.cip.inbox)
        await bob.cip.settled(delivery)
        set_back(back_ms, ada, bob)
        await channel.send(letter.data)
        await until(lambda: bob.count("replay_detected") + bob.count("envelope_rejected") > 0)
        set_back(-back_ms, bob)  # it comes there again
        await channel.send(letter.data)
        await until(lambda: bob.count("replay_detected") > 0)
        assert len(bob.cip.inbox) == 0
