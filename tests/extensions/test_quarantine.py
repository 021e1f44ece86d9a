"""The breaker of an extension (EXT-38): by example, and against a plain model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from web4.extensions.outcome import CODES
from web4.extensions.quarantine import (
    ANSWERED,
    COUNTED,
    FIRST_MS,
    LONGEST_MS,
    WINDOW_MS,
    Breaker,
    BreakerState,
    Change,
    Permit,
    Refused,
)

START = 1_800_000_000_000


def permit(breaker: Breaker, now: int) -> Permit:
    given = breaker.admit(now)
    assert isinstance(given, Permit), given
    return given


def call(breaker: Breaker, code: str | None, now: int) -> Change | None:
    return breaker.conclude(permit(breaker, now), code, now)


def opened(now: int = START, *, times: int = 1) -> Breaker:
    return Breaker(BreakerState(times=times, since=now, code="extension_crashed"))


def reread(breaker: Breaker) -> Breaker:
    """The breaker of the next process."""
    return Breaker(msgspec.json.decode(msgspec.json.encode(breaker.state), type=BreakerState))


def test_every_code_is_a_failure_an_answer_or_says_nothing() -> None:
    """EXT-27, EXT-38."""
    assert COUNTED | {one for one in ANSWERED if one} < CODES
    assert not COUNTED & ANSWERED
    says_nothing = CODES - COUNTED - ANSWERED
    assert says_nothing == {
        "extension_cancelled",
        "extension_busy",
        "extension_quarantined",
        "extension_changed",
        "extension_unprotected",
        "worker_lost",
    }


def test_three_failures_within_a_minute_open_it() -> None:
    """EXT-38."""
    breaker = Breaker()
    assert call(breaker, "extension_timeout", START) is None
    assert call(breaker, "extension_crashed", START + 1) is None
    assert call(breaker, None, START + 2) is None
    change = call(breaker, "extension_protocol_error", START + WINDOW_MS)
    assert change == Change("quarantined", breaker.state)
    assert breaker.state.code == "extension_protocol_error"
    assert breaker.admit(START + WINDOW_MS) == Refused(FIRST_MS)
    assert breaker.mode(START + WINDOW_MS) == "open"


def test_failures_further_apart_do_not() -> None:
    """EXT-38: within 60 s."""
    breaker = Breaker()
    for turn in range(20):
        assert call(breaker, "extension_timeout", START + turn * (WINDOW_MS // 2 + 1)) is None
    assert breaker.mode(START) == "closed"


def test_what_an_extension_says_itself_is_no_failure() -> None:
    """EXT-38: kinds timeout, crash, resource or protocol, nothing else."""
    breaker = Breaker()
    for code in (CODES - COUNTED) | {None}:
        for _ in range(5):
            assert call(breaker, code, START) is None
    assert breaker.mode(START) == "closed"


def test_one_trial_call_then_two_answers_close_it() -> None:
    """EXT-38."""
    breaker = opened()
    over = START + FIRST_MS
    assert breaker.admit(over - 1) == Refused(1)
    trial = permit(breaker, over)
    assert trial.trial
    assert breaker.admit(over) == Refused(0), "one at a time"
    assert breaker.conclude(trial, None, over) is None
    assert breaker.mode(over) == "trial"
    assert call(breaker, "extension_error", over) == Change("restored", BreakerState())
    assert not permit(breaker, over).trial


def test_a_trial_that_fails_doubles_the_wait() -> None:
    """EXT-38: doubling to 10 min."""
    breaker, now, waits = opened(), START, []
    for _ in range(8):
        refused = breaker.admit(now)
        assert isinstance(refused, Refused)
        waits.append(refused.retry_after_ms)
        now += refused.retry_after_ms
        change = call(breaker, "extension_timeout", now)
        assert change is not None
        assert change.event == "quarantined"
    assert waits == [30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000, 600_000]


def test_a_success_before_a_failure_in_trial_does_not_help() -> None:
    """EXT-38: two successes in a row of trials."""
    breaker = opened()
    assert call(breaker, None, START + FIRST_MS) is None
    assert call(breaker, "extension_timeout", START + FIRST_MS) is not None
    assert breaker.state.times == 2
    assert breaker.state.successes == 0


def test_a_trial_that_says_nothing_makes_room_for_the_next() -> None:
    """EXT-38: the caller cancelled it."""
    breaker = opened()
    over = START + FIRST_MS
    assert call(breaker, "extension_cancelled", over) is None
    assert permit(breaker, over).trial


def test_calls_from_before_say_nothing_of_after() -> None:
    """EXT-38: twenty that hung at once open it once, and end no wait."""
    breaker = Breaker()
    permits = [permit(breaker, START) for _ in range(20)]
    changes = [breaker.conclude(one, "extension_timeout", START) for one in permits[:10]]
    assert [one for one in changes if one is not None] == [Change("quarantined", breaker.state)]
    trial = permit(breaker, START + FIRST_MS)
    for one in permits[10:15]:
        assert breaker.conclude(one, None, START + FIRST_MS) is None
    assert breaker.admit(START + FIRST_MS) == Refused(0), "the trial call is still under way"
    for one in permits[15:]:
        assert breaker.conclude(one, "extension_crashed", START + FIRST_MS) is None
    assert breaker.state.times == 1
    assert breaker.conclude(trial, None, START + FIRST_MS) is None
    assert breaker.state.successes == 1


def test_a_human_resets_it() -> None:
    """EXT-38."""
    breaker = opened(times=5)
    assert breaker.reset() == Change("restored", BreakerState())
    assert breaker.reset() is None
    assert not permit(breaker, START).trial
    trial = permit(other := opened(), START + FIRST_MS)
    other.reset()
    assert other.conclude(trial, "extension_crashed", START + FIRST_MS) is None, (
        "the trial was before the reset"
    )


@pytest.mark.parametrize("away_ms", [0, 1, FIRST_MS - 1, FIRST_MS, 10**9])
def test_it_survives_a_restart(away_ms: int) -> None:
    """EXT-38: the state is what it was; the wait goes on while nobody runs."""
    breaker = reread(opened())
    now = START + away_ms
    left = max(0, FIRST_MS - away_ms)
    assert breaker.mode(now) == ("open" if left else "trial")
    if left:
        assert breaker.admit(now) == Refused(left)
    else:
        assert permit(breaker, now).trial


def test_a_trial_under_way_is_forgotten_by_a_restart() -> None:
    """EXT-38: what one process asked, the next does not wait for; answers count anew."""
    breaker = opened()
    assert call(breaker, None, START + FIRST_MS) is None
    assert permit(breaker, START + FIRST_MS).trial
    breaker = reread(breaker)
    assert call(breaker, None, START + FIRST_MS) is None
    assert call(breaker, None, START + FIRST_MS) is not None


def test_a_clock_that_went_back_never_prolongs_it() -> None:
    """EXT-38: after a restart the clock may say anything."""
    breaker = reread(opened())
    before = START - 86_400_000
    assert breaker.admit(before) == Refused(FIRST_MS)
    assert breaker.admit(before + 1) == Refused(FIRST_MS - 1)
    assert permit(breaker, before + FIRST_MS).trial


def test_a_clock_that_went_ahead_costs_one_trial() -> None:
    """EXT-38."""
    breaker = reread(opened(times=6))
    later = START + 10**12
    trial = permit(breaker, later)
    assert isinstance(breaker.admit(later), Refused)
    breaker.conclude(trial, "extension_timeout", later)
    assert breaker.admit(later) == Refused(LONGEST_MS)


@pytest.mark.parametrize("state", [{"times": 1000}, {"times": 2**62}, {"times": 1, "since": 2**62}])
def test_a_strange_state_waits_no_longer_than_the_longest(state: dict[str, Any]) -> None:
    """EXT-38: whatever was journalled."""
    refused = Breaker(msgspec.convert(state, BreakerState)).admit(START)
    assert isinstance(refused, Refused | Permit)
    if isinstance(refused, Refused):
        assert refused.retry_after_ms <= LONGEST_MS


class Model:
    """EXT-38 in the plainest words: everything that counted, gone through from the beginning each time."""

    def __init__(self) -> None:
        self.log: list[tuple[int, str]] = []

    def judged(self) -> tuple[int, int, int, int]:
        """Times opened, when, answers since, and the number of changes so far."""
        times = since = answers = changes = 0
        failures: list[int] = []
        for at, what in self.log:
            if what == "restart":
                answers = 0
            elif what == "reset":
                times, failures, answers, changes = 0, [], 0, changes + 1
            elif what == "failed":
                failures.append(at)
                near = [one for one in failures if at - 60_000 <= one]
                if times or len(near) >= 3:
                    times, since, failures, answers, changes = times + 1, at, [], 0, changes + 1
            elif times:
                answers += 1
                if answers == 2:
                    times, failures, answers, changes = 0, [], 0, changes + 1
        return times, since, answers, changes

    def left(self, now: int) -> int:
        times, since, _, _ = self.judged()
        if not times:
            return 0
        wait: int = [30_000, 60_000, 120_000, 240_000, 480_000, 600_000][min(times, 6) - 1]
        return max(0, since + wait - now)


class AgainstTheModel(RuleBasedStateMachine):
    """Calls that overlap, end in any order and any way, over restarts and resets, on a clock that goes ahead."""

    calls = Bundle("calls")

    @initialize()
    def begin(self) -> None:
        self.breaker, self.model, self.now = Breaker(), Model(), START
        self.trial: Permit | None = None
        self.generation = 0

    @rule(by=st.sampled_from([1, 500, 10_000, 29_999, 30_000, 60_000, 60_001, 600_000]))
    def wait(self, by: int) -> None:
        self.now += by

    @rule(target=calls)
    def ask(self) -> tuple[int, int, Permit | None]:
        answer = self.breaker.admit(self.now)
        times, _, _, changes = self.model.judged()
        left = self.model.left(self.now)
        if left or (times and self.trial is not None):
            assert answer == Refused(left)
            return self.generation, changes, None
        assert isinstance(answer, Permit)
        assert answer.trial is (times > 0)
        if answer.trial:
            self.trial = answer
        return self.generation, changes, answer

    @rule(made=consumes(calls), code=st.sampled_from(sorted(CODES | {""})))
    def end(self, made: tuple[int, int, Permit | None], code: str) -> None:
        generation, changes_then, given = made
        if given is None or generation != self.generation:  # refused, or of a process that is no more
            return
        before = self.model.judged()
        current = changes_then == before[3]
        if current and given.trial:
            self.trial = None
        if current and code in COUNTED:
            self.model.log.append((self.now, "failed"))
        elif current and given.trial and (code or None) in ANSWERED:
            self.model.log.append((self.now, "answered"))
        after = self.model.judged()
        change = self.breaker.conclude(given, code or None, self.now)
        if after[3] == before[3]:
            assert change is None
        else:
            self.trial = None
            assert change == Change("quarantined" if after[0] else "restored", self.breaker.state)

    @rule()
    def restart(self) -> None:
        self.breaker = reread(self.breaker)
        self.model.log.append((self.now, "restart"))
        self.generation += 1
        self.trial = None

    @precondition(lambda self: self.model.judged()[0] > 0)
    @rule()
    def reset(self) -> None:
        assert self.breaker.reset() == Change("restored", BreakerState())
        self.model.log.append((self.now, "reset"))
        self.trial = None

    @invariant()
    def same_state(self) -> None:
        times, since, answers, _ = self.model.judged()
        state = self.breaker.state
        assert (state.times, state.successes) == (times, answers)
        if times:
            assert state.since == since
            assert not state.failures
        assert len(state.failures) < 3


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)


class OnAWildClock(RuleBasedStateMachine):
    """Whatever the clock says: one trial at a time, no wait longer than it should be, none that never ends."""

    @initialize()
    def begin(self) -> None:
        self.breaker, self.now = Breaker(), START
        self.open: list[Permit] = []

    @rule(by=st.integers(-(10**10), 10**10))
    def jump(self, by: int) -> None:
        self.now += by

    @rule(code=st.sampled_from(["extension_timeout", "", "extension_cancelled"]), kept=st.booleans())
    def call(self, code: str, kept: bool) -> None:
        answer = self.breaker.admit(self.now)
        if isinstance(answer, Refused):
            assert 0 <= answer.retry_after_ms <= self.breaker.state.duration_ms <= LONGEST_MS
        elif kept:
            self.open.append(answer)
        else:
            self.breaker.conclude(answer, code or None, self.now)

    @rule(code=st.sampled_from(["extension_timeout", ""]))
    def end_one(self, code: str) -> None:
        if self.open:
            self.breaker.conclude(self.open.pop(), code or None, self.now)

    @rule()
    def restart(self) -> None:
        self.breaker = reread(self.breaker)
        self.open = []

    @invariant()
    def one_trial(self) -> None:
        epoch = max((one.epoch for one in self.open if one.trial), default=None)
        assert sum(one.trial and one.epoch == epoch for one in self.open) <= 1

    @invariant()
    def it_ends(self) -> None:
        breaker = reread(self.breaker)
        breaker.admit(self.now)
        assert breaker.mode(self.now + LONGEST_MS) != "open"


TestOnAWildClock = OnAWildClock.TestCase
TestOnAWildClock.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
