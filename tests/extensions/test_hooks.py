"""Chains of hooks: their order, and what each point may answer (EXT-10, EXT-11)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.extensions.hook_workers import ALLOW, CALL, QUESTION, Workers, at, extension
from web4.ext.hooks import ANSWERS, LOOP_POINTS, QUESTIONS, LoopStep, TextInput, ToolCall, ToolResult
from web4.extensions.hooks.hook_answers import MAX_REASON
from web4.extensions.hooks.hooks import HookChain
from web4.extensions.manifests.manifest import HOOK_POINTS
from web4.worker.frames import CallContext


def test_manifest_and_sdk_know_the_same_points() -> None:
    """EXT-10: nobody declares a point that nobody asks at."""
    assert set(QUESTIONS) == set(ANSWERS) == set(HOOK_POINTS) == set(QUESTION)


async def test_order_is_that_of_numbers_then_names() -> None:
    """EXT-10."""
    workers = Workers(a=ALLOW, b=ALLOW, c=ALLOW, d=ALLOW)
    orders = {"d": 1, "b": 0, "c": -1, "a": 0}
    chain = HookChain([extension(name, at(order=order)) for name, order in orders.items()], workers)
    verdict = await chain.ask("tool_call", CALL, CallContext(run="r"))
    assert verdict.proceeds
    assert workers.names == chain.at("tool_call") == ["c", "a", "b", "d"]
    assert {one.run for one in workers.contexts} == {"r"}
    assert [(one.extension, one.action) for one in verdict.asked] == [(name, "allow") for name in "cabd"]
    assert verdict.asked[0].call_id == "call of c"


async def test_each_input_hook_sees_what_the_one_before_made_of_it() -> None:
    """EXT-10."""
    workers = Workers(
        a=lambda asked: {"action": "text", "text": asked["text"] + "!"},
        b=lambda asked: {"action": "text", "text": asked["text"] * 2},
    )
    chain = HookChain([extension("a", at("input")), extension("b", at("input"))], workers)
    assert (await chain.ask("input", TextInput(text="hi"))).question == TextInput(text="hi!hi!")


async def test_each_result_hook_sees_what_the_one_before_made_of_it() -> None:
    """EXT-10."""
    workers = Workers(
        a=lambda asked: {"action": "result", "result": [asked["result"], "a"]},
        b=lambda asked: {"action": "result", "result": [asked["result"], "b"]},
    )
    chain = HookChain([extension("a", at("tool_result")), extension("b", at("tool_result"))], workers)
    verdict = await chain.ask("tool_result", ToolResult(tool="t", result=1))
    assert isinstance(verdict.question, ToolResult)
    assert verdict.question.result == [[1, "a"], "b"]


async def test_each_hook_of_the_loop_sees_the_remarks_before_it() -> None:
    """EXT-10, LOOP-6."""
    workers = Workers(a={"action": "annotate", "annotation": "odd"}, b=None, c=None)
    chain = HookChain([extension(name, at("before_perceive")) for name in "abc"], workers)
    verdict = await chain.ask("before_perceive", LoopStep(task="t"))
    assert [asked["annotations"] for _, asked in workers.asked] == [[], ["odd"], ["odd"]]
    assert [(one.extension, one.annotation) for one in verdict.annotations] == [("a", "odd")]


async def test_the_first_block_wins() -> None:
    """EXT-11."""
    workers = Workers(a=ALLOW, b={"action": "block", "reason": "no lamps"}, c=ALLOW)
    verdict = await HookChain([extension(name, at()) for name in "abc"], workers).ask("tool_call", CALL)
    assert (verdict.proceeds, verdict.stopped_by, verdict.reason) == (False, "b", "no lamps")
    assert verdict.error == "tool_error: tool_blocked: no lamps"
    assert workers.names == ["a", "b"]
    assert verdict.failures == ()


@pytest.mark.parametrize("reason", [None, "", "  "])
async def test_a_block_without_a_reason_has_one(reason: str | None) -> None:
    """EXT-11."""
    workers = Workers(a={"action": "block", "reason": reason})
    verdict = await HookChain([extension("a", at())], workers).ask("tool_call", CALL)
    assert verdict.error == "tool_error: tool_blocked: blocked_by_extension"


async def test_a_reason_that_never_ends_is_a_block_all_the_same() -> None:
    """EXT-11: an open hook must not fail because it says too much."""
    workers = Workers(a={"action": "block", "reason": "x" * 100_000})
    verdict = await HookChain([extension("a", at(fail="open"))], workers).ask("tool_call", CALL)
    assert not verdict.proceeds
    assert verdict.reason == "x" * MAX_REASON


# --- rewriting ------------------------------------------------------------------------------------------------


async def test_a_rewrite_is_told() -> None:
    """EXT-11: the caller has to judge the arguments again."""
    workers = Workers(
        a={"action": "rewrite", "arguments": {"query": "torch"}},
        b=lambda asked: ALLOW if asked["arguments"] == {"query": "torch"} else {"action": "block"},
    )
    chain = HookChain([extension("a", at(rewrites=True)), extension("b", at())], workers)
    verdict = await chain.ask("tool_call", CALL)
    assert verdict.proceeds
    assert verdict.rewritten
    assert verdict.question == ToolCall(tool=CALL.tool, arguments={"query": "torch"}, verdict=CALL.verdict)


async def test_a_rewrite_that_changes_nothing_is_none() -> None:
    """EXT-11."""
    workers = Workers(a={"action": "rewrite", "arguments": {"query": "lamp"}})
    verdict = await HookChain([extension("a", at(rewrites=True))], workers).ask("tool_call", CALL)
    assert verdict.proceeds
    assert not verdict.rewritten


async def test_true_is_not_1() -> None:
    """EXT-11: Python takes them for equal, a schema does not."""
    workers = Workers(a={"action": "rewrite", "arguments": {"force": True}})
    question = ToolCall(tool="t", arguments={"force": 1})
    assert (
        await HookChain([extension("a", at(rewrites=True))], workers).ask("tool_call", question)
    ).rewritten


async def test_a_rewrite_needs_leave() -> None:
    """EXT-11: `rewrites = true` in the manifest; else it is a bad answer."""
    rewrite = {"action": "rewrite", "arguments": {"query": "torch"}}
    closed = await HookChain([extension("a", at())], Workers(a=rewrite)).ask("tool_call", CALL)
    assert (closed.proceeds, closed.error) == (False, "tool_error: tool_blocked: hook_failed")
    opened = await HookChain([extension("a", at(fail="open"))], Workers(a=rewrite)).ask("tool_call", CALL)
    assert opened.proceeds
    assert opened.question == CALL
    assert [one.warning for one in opened.warnings] == ["extension_hook_error"]


async def test_rewritten_arguments_meet_the_guards_that_saw_the_old_ones() -> None:
    """EXT-11, AGT-30: a hook cannot bring in what an earlier guard would have blocked."""
    workers = Workers(
        guard=lambda asked: {"action": "block"} if asked["arguments"]["query"] == "secret" else ALLOW,
        late={"action": "rewrite", "arguments": {"query": "secret"}},
    )
    hooks = [extension("guard", at(order=-5)), extension("late", at(rewrites=True, order=5))]
    chain = HookChain(hooks, workers)
    first = await chain.ask("tool_call", CALL)
    assert first.rewritten
    second = await chain.ask("tool_call", first.question, again=True)
    assert (second.proceeds, second.stopped_by) == (False, "guard")


async def test_two_that_rewrite_each_other_do_not_go_on_for_ever() -> None:
    """EXT-11: once more means once."""
    workers = Workers(
        a={"action": "rewrite", "arguments": {"query": "a"}},
        b={"action": "rewrite", "arguments": {"query": "b"}},
    )
    both = HookChain([extension(name, at(rewrites=True, fail="open")) for name in "ab"], workers)
    first = await both.ask("tool_call", CALL)
    second = await both.ask("tool_call", first.question, again=True)
    assert (second.proceeds, second.reason) == (False, "rewrite_not_settled")
    alone = HookChain([extension("a", at(rewrites=True))], workers)
    settled = await alone.ask("tool_call", CALL)
    again = await alone.ask("tool_call", settled.question, again=True)
    assert (again.proceeds, again.rewritten) == (True, False)


# --- other points ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "asked"),
    [
        ((), True),
        (("search",), True),
        (("acme.notes.search",), True),
        (("notes.search",), True),
        (("acme.*",), True),
        (("sea*", "run_command"), True),
        (("run_command",), False),
        (("SEARCH",), False),
        (("acme",), False),
        (("[",), False),
        (("*" * 200 + "x",), False),
    ],
)
async def test_patterns_choose_the_tools(patterns: tuple[str, ...], asked: bool) -> None:
    """EXT-10: at both points of tools, by any tail of the name."""
    for point in ("tool_call", "tool_result"):
        workers = Workers(a=ALLOW if point == "tool_call" else None)
        chain = HookChain([extension("a", at(point, tools=patterns))], workers)
        assert (await chain.ask(point, QUESTION[point])).proceeds
        assert workers.names == (["a"] if asked else [])


async def test_input_that_is_handled_asks_nobody_else() -> None:
    """EXT-10: text, or handled and a text."""
    workers = Workers(a={"action": "handled", "text": "done"}, b={"action": "text", "text": "never"})
    chain = HookChain([extension(name, at("input")) for name in "ab"], workers)
    verdict = await chain.ask("input", TextInput(text="/do"))
    assert (verdict.proceeds, verdict.handled, verdict.stopped_by) == (True, "done", "a")
    assert verdict.question == TextInput(text="/do")
    assert workers.names == ["a"]


@pytest.mark.parametrize("point", ["session_before_switch", "session_before_fork"])
async def test_a_session_stays_where_it_is(point: str) -> None:
    """EXT-10, NDJ-24."""
    workers = Workers(a=None, b={"action": "cancel", "reason": "unsaved"}, c=None)
    chain = HookChain([extension(name, at(point)) for name in "abc"], workers)
    verdict = await chain.ask(point, QUESTION[point])
    assert (verdict.proceeds, verdict.error) == (False, "cancelled_by_extension: unsaved")
    assert workers.names == ["a", "b"]


@pytest.mark.parametrize("point", LOOP_POINTS)
async def test_the_loop_is_vetoed(point: str) -> None:
    """LOOP-6."""
    workers = Workers(a={"action": "veto", "reason": "not now"})
    verdict = await HookChain([extension("a", at(point))], workers).ask(point, QUESTION[point])
    assert (verdict.proceeds, verdict.error) == (False, "hook_veto: not now")


async def test_a_callers_mistake_is_told() -> None:
    """EXT-10."""
    chain = HookChain([], Workers())
    with pytest.raises(ValueError, match="no hook point"):
        await chain.ask("tool_cal", CALL)
    with pytest.raises(TypeError, match="ToolCall"):
        await chain.ask("tool_call", TextInput(text="x"))
    with pytest.raises(ValueError, match="two hooks"):
        HookChain([extension("a", at(), at(tools=("x",)))], Workers())
    with pytest.raises(ValueError, match="no hook point"):
        HookChain([extension("a", at("tool"))], Workers())
    assert (await chain.ask("tool_call", CALL)).proceeds


# --- against a plain model ------------------------------------------------------------------------------------

ANSWER = st.sampled_from(
    [
        ALLOW,
        {"action": "block", "reason": "no"},
        {"action": "rewrite", "arguments": {"n": 1}},
        {"action": "rewrite", "arguments": {"n": 2}},
        None,
        "!extension_timeout",
        "!extension_quarantined",
    ]
)
LINK = st.tuples(ANSWER, st.sampled_from([None, "open", "closed"]), st.booleans(), st.integers(-1, 1))


@given(st.lists(LINK, max_size=6))
def test_a_chain_narrows_and_never_widens(links: list[tuple[Any, Any, bool, int]]) -> None:
    """EXT-11, EXT-12: against the rules, one hook at a time."""
    declared = {chr(ord("a") + number): link for number, link in enumerate(links)}
    expected, arguments, open_failures = True, {"n": 0}, 0
    for name in sorted(declared, key=lambda one: (declared[one][3], one)):
        answer, mode, rewrites, _ = declared[name]
        action = answer["action"] if isinstance(answer, dict) else None
        if action == "block":
            expected = False
        elif action == "rewrite" and rewrites:
            arguments = answer["arguments"]
        elif action != "allow":
            expected = mode == "open"
            open_failures += expected
        if not expected:
            break
    hooks = [
        extension(name, at(fail=mode, rewrites=rewrites, order=order))
        for name, (_, mode, rewrites, order) in declared.items()
    ]
    chain = HookChain(hooks, Workers(**{name: answer for name, (answer, *_) in declared.items()}))
    verdict = trio.run(chain.ask, "tool_call", ToolCall(tool="t", arguments={"n": 0}))
    assert isinstance(verdict.question, ToolCall)
    assert verdict.proceeds is expected
    assert (verdict.error is None) is expected
    assert len(verdict.warnings) == open_failures
    if expected:
        assert verdict.question.arguments == arguments
        assert verdict.rewritten or arguments == {"n": 0}
