"""What may not pass the gate, however it is tried: ids of others, words that came back, clocks that went back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.protocols.hcp.arrange import HAL, befriend, two
from tests.protocols.hcp.test_hcp_lane import ADD, NOW, action, attempt, give, other, run, uid
from web4.protocols.hcp import ConsentDenied, Limit
from web4.protocols.hcp.lane import commands as c
from web4.protocols.hcp.values import Contact, Facts, Said

if TYPE_CHECKING:
    from trio.testing import MockClock

SLOW = c.State(said=Said(pressure=90), door="test", at=NOW, token=uid(1))
HAL_AGAIN = Contact("cd" * 32, "hal")


def incoming(number: int, **more: Any) -> c.Attempt:
    return attempt(number, direction="in", **more)


def test_a_message_that_comes_again_meets_the_consent_of_now() -> None:
    """HCP-1, HCP-3: one that passed before a crash is asked about again: consent was revoked since."""
    state, replies = run(ADD, give("granted"), SLOW, incoming(1))
    assert replies[-1].status == "go"
    state, replies = run(incoming(1), state=state)
    assert replies[-1].status == "go"
    state, replies = run(give("revoked", 2), incoming(1), state=state)
    assert (replies[-1].status, replies[-1].verdict.code) == ("stopped", "consent_revoked")


def test_the_id_of_a_message_that_passed_opens_no_gate() -> None:
    """HCP-9: another peer that was told the id of a message that passed is asked for its own consent."""
    state, replies = run(ADD, give("granted"), SLOW, incoming(1))
    assert replies[-1].status == "go"
    stranger = c.Attempt(
        action=action(
            1,
            direction="in",
            peer=HAL_AGAIN.peer,
            lane_id=HAL_AGAIN.lane_id,
        ),
        other=c.Other(trust="trusted", social="untrusted", facts=Facts()),
        at=NOW,
        token=uid(7),
    )
    _, replies = run(stranger, state=state)
    assert (replies[-1].status, replies[-1].verdict.code) == ("stopped", "no_consent")


def test_pacing_holds_nobody_up_for_a_clock_that_went_back() -> None:
    """HCP-7: what passed in a time that is not yet counts for no pace: at most one message more passes."""
    state, _ = run(ADD, give("granted"), SLOW, incoming(1))
    hour_ago = NOW - 3_600_000
    lookout = other(said_ms=hour_ago)
    back: dict[str, Any] = {"theirs": lookout, "at": hour_ago}
    state, replies = run(give("granted", 2, hour_ago), incoming(2, **back), incoming(3, **back), state=state)
    assert [one.status for one in replies[1:]] == ["go", "waits"]
    assert state.local is not None
    assert state.local.next_ms == hour_ago + 30_000


@pytest.mark.parametrize("back_ms", [1_000, 3_600_000, 86_400_000])
def test_consent_of_a_time_that_is_not_yet_is_not_fresh(back_ms: int) -> None:
    """HCP-2: when a clock was set back, nobody knows how old a grant is: it is limited until it is given again."""
    state, _ = run(ADD, give("granted", scope=("topic:garden",)))
    then = NOW - back_ms
    _, replies = run(incoming(1, theirs=other(said_ms=then), at=then, topic="money"), state=state)
    assert replies[-1].status == ("go" if back_ms == 1_000 else "stopped")
    again = (give("granted", 2, then), incoming(1, theirs=other(said_ms=then), at=then, topic="money"))
    _, replies = run(*again, state=state)
    assert replies[-1].status == "go"


@pytest.mark.parametrize("back_ms", [1_000, 3_600_000, 86_400_000])
def test_a_clock_set_back_leaves_no_question_open_for_a_day(back_ms: int) -> None:
    """HCP-5: a human has ten minutes to answer, twenty at most if the clock is set back; then it is deferred."""
    tense = c.State(said=Said(affect="tense"), door="test", at=NOW, token=uid(1))
    state, replies = run(ADD, give("granted"), tense, incoming(1))
    assert replies[-1].status == "asked"
    then = NOW - back_ms
    ended = []
    for minute in range(21):
        at = then + 60_000 * minute
        state, _ = run(
            c.Tick(others={HAL.lane_id: other(said_ms=at)}, at=at, token=uid(50 + minute)), state=state
        )
        assert state.local is not None
        ended.append(not state.local.check_ins)
    assert ended[-1]
    assert ended[0] is (back_ms > 600_000)


async def test_work_that_waited_meets_the_scope_of_now(autojump_clock: MockClock) -> None:
    """HCP-1, HCP-2: consent that was narrowed while work waited for its turn is the one that counts."""
    async with two() as (ada, bob, wire):
        await befriend(ada, bob, wire)
        async with ada.hcp.running("grace", HAL, topic="money"):
            pass
        await ada.hcp.act("grace", Limit(scope=("topic:garden",)), door="test")
        async with ada.hcp.running("grace", HAL, topic="garden/fence"):
            pass
        for topic in ("money", "gardening", "topic:garden"):
            with pytest.raises(ConsentDenied) as caught:
                async with ada.hcp.running("grace", HAL, topic=topic):
                    raise AssertionError("it does not begin")
            assert caught.value.code == "out_of_scope"
