"""Calls as effects of a lane: durable before the worker sees them, concluded once (EXT-3, EXT-26)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
import trio.testing

from tests.actors.jobs import START, Said
from tests.extensions.calling import LANE, Host, calling, concluded, forever, outcome, request
from web4.actors.definition import Effect
from web4.extensions.calls.calls_lane import ExtensionCalls
from web4.extensions.calls.calls_lane_asking import call_on_lane
from web4.extensions.calls.calls_logic import RECENT, CallsLogic, ConcludeCall, CutCall, RequestCall
from web4.extensions.errors import CallError
from web4.extensions.outcome import CallOutcome
from web4.journal.backends.memory import Fault, ScriptedFaults
from web4.testing import check_lane_logic

if TYPE_CHECKING:
    from web4.extensions.calls.call_events import CallRequested


async def test_a_call_is_durable_before_the_worker_sees_it() -> None:
    """EXT-3."""
    release, host = trio.Event(), Host("hit")
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    async with calling(host, faults=faults) as (journal, actors):
        actors.lane(LANE).tell(RequestCall(request=request(), at=START))
        await trio.testing.wait_all_tasks_blocked()
        assert host.asked == []
        release.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [asked.call_id for asked, _ in host.asked] == ["c1"]
        assert len(await concluded(journal)) == 1


async def test_the_envelope_is_the_conclusion() -> None:
    """EXT-26: every field, null where there is no value, and the same when it is read again."""
    host = Host({"hits": ["lamp"]})
    async with calling(host) as (journal, actors):
        asked = request(arguments={"query": "lamp"})
        got = await call_on_lane(journal, actors.lane(LANE), asked)
        assert got == outcome(asked, {"hits": ["lamp"]})
        assert host.asked == [(asked, {"query": "lamp"})]
        records = await journal.read(LANE)
        assert [one.type for one in records] == ["extension.call_requested", "extension.call_concluded"]
        payload = msgspec.json.decode(records[1].payload or b"")
        assert set(payload) == set(CallOutcome.__struct_fields__)
        assert payload["exit_status"] is None
        assert payload["isolated"] is True
        assert await journal.open_work() == []


@pytest.mark.parametrize("code", ["extension_timeout", "extension_crashed", "extension_error"])
async def test_a_failure_is_data(code: str) -> None:
    """EXT-4."""
    failed: dict[str, Any] = {
        "outcome": "error",
        "code": code,
        "reason": "no",
        "data": {"hint": 1},
        "signal": 9,
    }
    failed |= {"stderr": "Traceback", "side_effects": False, "retryable": True}

    async def answer(asked: CallRequested, _: Any) -> CallOutcome:
        return outcome(asked, **failed)

    async with calling(Host(answer)) as (journal, actors):
        got = await call_on_lane(journal, actors.lane(LANE), request())
        assert got == outcome(request(), **failed)
        assert actors.metrics.crashes == 0


async def test_a_call_id_is_used_once() -> None:
    """EXT-3: whoever asks again is told the same, and no worker is asked again."""
    host = Host("first")
    async with calling(host) as (journal, actors):
        lane = actors.lane(LANE)
        first = await call_on_lane(journal, lane, request())
        host.answer = "second"
        assert await call_on_lane(journal, lane, request()) == first
        gate = trio.Event()

        async def slow(asked: CallRequested, _: Any) -> str:
            await gate.wait()
            return "third"

        host.answer = slow
        results: list[CallOutcome] = []

        async def ask() -> None:
            results.append(await call_on_lane(journal, lane, request("c2")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert [one.value for one in results] == ["third", "third"]
        assert [asked.call_id for asked, _ in host.asked] == ["c1", "c2"]


async def test_many_calls_at_once_are_concluded_once_each() -> None:
    """EXT-3."""

    async def answer(asked: CallRequested, arguments: Any) -> Any:
        for _ in range(arguments % 5):
            await trio.lowlevel.checkpoint()
        return arguments

    async with calling(Host(answer)) as (journal, actors):
        results: dict[int, Any] = {}

        async def ask(number: int) -> None:
            asked = request(f"c{number}", arguments=number)
            results[number] = (await call_on_lane(journal, actors.lane(LANE), asked)).value

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
        assert results == {number: number for number in range(100)}
        assert sorted(one.call_id for one in await concluded(journal)) == sorted(f"c{n}" for n in range(100))
        state = await actors.lane(LANE).state()
        assert (state.open, len(state.recent), state.outcomes) == ({}, RECENT, {"ok": 100})


# --- cutting off ----------------------------------------------------------------------------------------------


async def test_a_call_that_is_cut_is_concluded_as_cancelled() -> None:
    """EXT-19, EXT-26."""
    host = Host(forever)
    async with calling(host) as (journal, actors):
        lane = actors.lane(LANE)
        await lane.ask(RequestCall(request=request(), at=START))
        await trio.testing.wait_all_tasks_blocked()
        assert await lane.ask(CutCall(call_id="c1", reason="user", at=START), control=True) == "cut"
        await trio.testing.wait_all_tasks_blocked()
        (one,) = await concluded(journal)
        assert (one.outcome, one.code, one.worker_id) == ("cancelled", "extension_cancelled", None)
        assert one.elapsed_ms is not None
        assert host.cancelled == ["c1"]
        assert host.killed == []
        assert await lane.ask(CutCall(call_id="c1", reason="user", at=START)) == "not_open"


async def test_a_caller_that_is_cancelled_cuts_its_call(autojump_clock: trio.testing.MockClock) -> None:
    """EXT-19."""
    host = Host(forever)
    async with calling(host) as (journal, actors):
        with trio.move_on_after(3):
            await call_on_lane(journal, actors.lane(LANE), request())
        await trio.testing.wait_all_tasks_blocked()
        (one,) = await concluded(journal)
        assert one.outcome == "cancelled"
        assert one.elapsed_ms == pytest.approx(3_000, abs=10)


async def test_a_caller_cancelled_before_its_request_is_durable_cuts_it_too() -> None:
    """EXT-3: the cut must not overtake what it cuts."""
    release, host = trio.Event(), Host(forever)
    faults = ScriptedFaults({"commit": [Fault(until=release)]})
    async with calling(host, faults=faults) as (journal, actors):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_on_lane, journal, actors.lane(LANE), request())
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        release.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [one.outcome for one in await concluded(journal)] == ["cancelled"]
        assert await journal.open_work() == []


async def test_a_performer_that_does_not_yield_is_killed(autojump_clock: trio.testing.MockClock) -> None:
    """ACT-3b: nothing waits for it, and its late answer changes nothing (JRN-13e)."""
    done = trio.Event()

    async def stubborn(asked: CallRequested, _: Any) -> str:
        with trio.CancelScope(shield=True):
            await done.wait()
        return "late"

    host, said = Host(stubborn), Said()
    async with calling(host, emit=said) as (journal, actors):
        lane = actors.lane(LANE)
        await lane.ask(RequestCall(request=request(), at=START))
        await lane.ask(CutCall(call_id="c1", reason="user", at=START), control=True)
        await trio.sleep(6)
        (one,) = await concluded(journal)
        assert (one.outcome, one.code) == ("killed", "extension_cancelled")
        assert host.killed == ["c1"]
        done.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(await concluded(journal)) == 1


# --- what cannot be called, or kept -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [("unknown_operation", "extension_changed"), ("host_closed", "extension_cancelled")],
)
async def test_what_is_not_called_is_refused(error: str, code: str) -> None:
    """EXT-26: the request is durable, so its conclusion is."""
    async with calling(Host(CallError("it is not there", code=error))) as (journal, actors):
        got = await call_on_lane(journal, actors.lane(LANE), request())
    assert (got.outcome, got.code, got.retryable, got.worker_id) == ("refused", code, True, None)
    assert "it is not there" in (got.reason or "")


async def test_a_performer_that_raises_leaves_nothing_open() -> None:
    """ACT-3a: a mistake in the node is concluded as an error."""
    async with calling(Host(ZeroDivisionError())) as (journal, actors):
        got = await call_on_lane(journal, actors.lane(LANE), request())
        assert (got.outcome, got.code) == ("error", "extension_invalid_result")
        assert "ZeroDivisionError" in (got.reason or "")
        assert await journal.open_work() == []


def test_the_logic_is_pure() -> None:
    """ACT-1."""
    calls = ExtensionCalls.__new__(ExtensionCalls)
    calls._begun = {}

    ended = calls.conclude(Effect("c1", request(), None, False), "cancelled", "cancelled")
    commands: list[Any] = [
        RequestCall(request=request(), at=1),
        RequestCall(request=request(), at=2),
        RequestCall(request=request("c2"), at=2),
        CutCall(call_id="c1", reason="user", at=3),
        CutCall(call_id="c9", reason="user", at=3),
        ConcludeCall(concluded=ended, at=4),
        ConcludeCall(concluded=ended, at=5),
        RequestCall(request=request(), at=6),
    ]
    state, events = check_lane_logic(CallsLogic(), commands)
    assert len(events) == 4
    assert set(state.open) == {"c2"}
    assert [one.outcome for one in state.recent] == ["cancelled"]
