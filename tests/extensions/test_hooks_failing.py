"""Hooks that fail: open goes on, closed does not (EXT-12)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.extensions.hook_workers import ALLOW, CALL, QUESTION, Workers, at, extension
from web4.ext.hooks import LOOP_POINTS, ToolResult
from web4.extensions.errors import CallError
from web4.extensions.hooks.hook_answers import is_json
from web4.extensions.hooks.hooks import HookChain
from web4.extensions.manifests.manifest import CLOSED_BY_DEFAULT, FailMode
from web4.extensions.outcome import CODES
from web4.foundation.digest import canonical

REFUSAL = {
    "input": "extension_error",
    "before_agent_start": "extension_error",
    "run_start": "extension_error",
    "turn_start": "extension_error",
    "turn_end": "extension_error",
    "run_end": "extension_error",
    "tool_call": "tool_error: tool_blocked: hook_failed",
    "tool_result": "tool_error: tool_blocked: result_withheld",
    "session_before_switch": "session_hook_failed",
    "session_before_fork": "session_hook_failed",
} | dict.fromkeys(LOOP_POINTS, "hook_veto: hook_failed")
MODES: list[FailMode | None] = [None, "open", "closed"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("point", sorted(QUESTION))
async def test_every_failure_at_every_point_follows_the_mode(point: str, mode: FailMode | None) -> None:
    """EXT-12: open goes on as if the hook were absent, closed does not; the point's own mode is the default."""
    closed = mode == "closed" or (mode is None and point in CLOSED_BY_DEFAULT)
    for code in sorted(CODES):
        workers = Workers(a=f"!{code}", b=ALLOW if point == "tool_call" else None)
        chain = HookChain([extension("a", at(point, fail=mode)), extension("b", at(point))], workers)
        verdict = await chain.ask(point, QUESTION[point])
        (failure,) = verdict.failures
        assert (failure.extension, failure.code, failure.call_id) == ("a", code, "call of a")
        timeout = code in {"extension_timeout", "extension_start_timeout"}
        assert failure.warning == ("extension_timeout" if timeout else "extension_hook_error")
        assert failure.closed is closed
        if closed:
            assert (verdict.proceeds, verdict.reason, verdict.stopped_by) == (False, "hook_failed", "a")
            assert verdict.error == REFUSAL[point]
            assert verdict.warnings == ()
            assert workers.names == ["a"]
        else:
            assert (verdict.proceeds, verdict.error) == (True, None)
            assert verdict.warnings == (failure,)
            assert verdict.question == QUESTION[point]
            assert workers.names == ["a", "b"]


async def test_a_withheld_result_is_not_there() -> None:
    """EXT-12: nobody uses by mistake what is to be withheld."""
    chain = HookChain([extension("a", at("tool_result", fail="closed"))], Workers(a="!extension_crashed"))
    verdict = await chain.ask("tool_result", ToolResult(tool="t", result="password"))
    assert "password" not in repr(verdict)


BAD: list[Any] = [
    None,
    True,
    0,
    "allow",
    b"allow",
    [],
    {},
    ["allow"],
    {"action": "Allow"},
    {"action": ["allow"]},
    {"action": None},
    {"action": "allow", "block": True},
    {"action": "approve"},
    {"action": "block", "reason": 7},
    {"action": "rewrite"},
    {"action": "rewrite", "arguments": None},
    {"action": "rewrite", "arguments": []},
    {"action": "rewrite", "arguments": {1: 2}},
    {"action": "rewrite", "arguments": {"a": {1: 2}}},
    {"action": "rewrite", "arguments": {"a": b"bytes"}},
    {"action": "rewrite", "arguments": {"a": float("nan")}},
    {"action": "rewrite", "arguments": {"a": float("-inf")}},
    {"action": "rewrite", "arguments": {"a": 2**60}},
    {"action": "text", "text": "hello"},
    {"action": "cancel"},
]


@pytest.mark.parametrize("answer", BAD, ids=str)
async def test_a_bad_answer_is_a_failure(answer: Any) -> None:
    """EXT-12: a guard that says nothing, or something else, has not allowed anything."""
    chain = HookChain([extension("a", at(rewrites=True))], Workers(a=answer))
    verdict = await chain.ask("tool_call", CALL)
    assert verdict.error == "tool_error: tool_blocked: hook_failed"
    assert verdict.failures[0].code == "extension_error"
    assert verdict.question == CALL


@pytest.mark.parametrize("point", ["run_start", "turn_end", "before_agent_start"])
async def test_points_without_an_answer_take_none(point: str) -> None:
    """EXT-10."""
    chain = HookChain([extension("a", at(point))], Workers(a=ALLOW))
    verdict = await chain.ask(point, QUESTION[point])
    assert verdict.proceeds
    assert [one.warning for one in verdict.warnings] == ["extension_hook_error"]


async def test_an_answer_as_deep_as_it_gets_is_refused() -> None:
    """EXT-12."""
    value: Any = 0
    for _ in range(200):
        value = [value]
    answer = {"action": "rewrite", "arguments": {"a": value}}
    verdict = await HookChain([extension("a", at(rewrites=True))], Workers(a=answer)).ask("tool_call", CALL)
    assert not verdict.proceeds


async def test_what_could_not_be_called_has_failed() -> None:
    """EXT-4, EXT-12: the node is leaving, and a closed hook is closed."""
    gone = CallError("the node is leaving", code="host_closed")
    closed = await HookChain([extension("a", at())], Workers(a=gone)).ask("tool_call", CALL)
    assert closed.error == "tool_error: tool_blocked: hook_failed"
    opened = await HookChain([extension("a", at(fail="open"))], Workers(a=gone)).ask("tool_call", CALL)
    assert opened.proceeds
    assert (opened.failures[0].code, opened.failures[0].call_id) == ("host_closed", None)


async def test_the_callers_cancellation_asks_nobody_else(autojump_clock: trio.testing.MockClock) -> None:
    """EXT-12: no verdict, so nothing that is guarded happens."""

    async def hangs() -> None:
        await trio.sleep_forever()

    workers = Workers(a=lambda _: hangs(), b=ALLOW)
    chain = HookChain([extension("a", at(fail="open")), extension("b", at())], workers)
    verdict = None
    with trio.move_on_after(1) as scope:
        verdict = await chain.ask("tool_call", CALL)
    assert scope.cancelled_caught
    assert verdict is None
    assert workers.names == ["a"]


JSON_AND_MORE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3) | st.integers(), inner),
    max_leaves=6,
)


@given(JSON_AND_MORE)
def test_json_is_what_comes_back_the_same(value: Any) -> None:
    """EXT-11: what passes can be journalled."""
    if is_json(value):
        assert msgspec.json.decode(canonical(value)) == value
