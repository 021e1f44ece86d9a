"""The logic of services: pure, bounded, and once per id (ACT-1, GRAPH-4, REP-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from web4.extensions.calls.call_events import Kept
from web4.foundation.logic import replay
from web4.journal.event_types import EventRegistry
from web4.mesh.services import service_state
from web4.mesh.services.part import SERVICES
from web4.mesh.services.service_events import SERVICE_EVENTS
from web4.mesh.services.service_logic import (
    CallService,
    CutService,
    EndAnswer,
    EndService,
    ServicesLogic,
)
from web4.testing import check_lane_logic

if TYPE_CHECKING:
    import pytest

A, B = "a" * 64, "b" * 64
DAY = 86_400_000


def call(peer: str, call_id: str, at: int = 0, **more: Any) -> CallService:
    fields: dict[str, Any] = {
        "at": at,
        "peer": peer,
        "call_id": call_id,
        "service": "sum",
        "version": "1.0",
        "args": Kept(inline={"a": 1}),
        "result_id": f"result of {call_id}",
        "deadline_ms": at + 1_000,
    }
    return CallService(**{**fields, **more})


def done(peer: str, call_id: str, at: int = 0) -> tuple[EndService, EndAnswer]:
    result = Kept(inline={"sum": 1})
    return (
        EndService(at=at, peer=peer, call_id=call_id, status="ok", result=result),
        EndAnswer(at=at, peer=peer, call_id=call_id),
    )


def run(commands: list[Any], logic: ServicesLogic | None = None) -> tuple[Any, list[str]]:
    logic, replies = logic or ServicesLogic(), []
    state = logic.initial
    for command in commands:
        decision = logic.decide(state, command)
        replies.append(str(decision.reply))
        for event in decision.events:
            state = logic.apply(state, event)
    return state, replies


def test_logic_is_pure_and_replays() -> None:
    """ACT-1, WEB-2: alike in another process, from its events, and from its own encoding."""
    commands: list[Any] = [
        call(A, "1"),
        call(A, "1"),
        call(B, "1", refused="trust"),
        call(A, "2", refused="deadline"),
        EndAnswer(at=1, peer=B, call_id="1"),
        CutService(at=2, peer=A, call_id="1", reason="why not"),
        CutService(at=2, peer=A, call_id="9", reason="why not"),
        *done(A, "1", 3),
        *done(A, "1", 3),
        call(A, "3", 4),
        EndService(at=5, peer=A, call_id="3", status="failed", code="crashed"),
    ]
    state, events = check_lane_logic(ServicesLogic(), commands)
    assert run(commands)[1] == [
        *("running", "duplicate", "refused", "refused", "ended", "cut", "unknown"),
        *("ended", "ended", "unknown", "unknown", "running", "ended"),
    ]
    registry = EventRegistry(SERVICE_EVENTS)
    reread: list[Any] = [registry.reread(registry.type_of(one), registry.encode(one)) for one in events]
    assert reread == events
    assert replay(ServicesLogic(), reread) == state
    assert SERVICES.definition.decode(SERVICES.definition.encode(state)) == state
    assert sorted(one.status for one in state.answering.values()) == ["failed", "timeout"]


def test_so_many_at_once_in_all_and_of_one_peer() -> None:
    """One peer does not take the others' room; who is put off is answered, and its id is used."""
    logic = ServicesLogic(max_running=3, max_running_of_one=2)
    calls = [call(A, "1"), call(A, "2"), call(A, "3"), call(B, "1"), call(B, "2")]
    state, replies = run([*calls, call(A, "3")], logic)
    assert replies == ["running", "running", "refused", "running", "refused", "duplicate"]
    assert {one.code for one in state.answering.values()} == {"busy"}


def test_ids_are_remembered_a_week_and_none_is_forgotten_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """REP-1: bounded by refusing."""
    monkeypatch.setattr(service_state, "MAX_KNOWN", 2)
    first = [call(A, "1"), *done(A, "1"), call(A, "2"), *done(A, "2")]
    assert run([*first, call(A, "3"), call(A, "1")])[1][-2:] == ["full", "duplicate"]
    monkeypatch.setattr(service_state, "MAX_KNOWN", 9)
    later = [call(A, "3", 7 * DAY), *done(A, "3", 7 * DAY), call(A, "1", 7 * DAY)]
    state, replies = run([*first, *later])
    assert (replies[-1], state.count) == ("duplicate", 3)
    week = [call(A, "4", 8 * DAY), *done(A, "4", 8 * DAY), call(A, "1", 8 * DAY)]
    state, replies = run([*first, *later, *week])
    assert (replies[-1], state.count) == ("running", 3)
