"""Hooks in real workers: they hang, and what they guard does not happen, or does (EXT-10 to EXT-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.extensions.hosting import running, write_extension
from web4.ext.hooks import TextInput, ToolCall

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.hooks.hook_answers import HookVerdict
    from web4.extensions.hosting.host import ExtensionHost

GUARD = """
import time
from pathlib import Path
from web4.ext import Allow, Block, Context, Extension, ReplaceText, Rewrite, TextInput, ToolCall

ext = Extension("NAME")

@ext.hook("tool_call", FAIL, timeout_ms=2_000)
def guard(ctx: Context, call: ToolCall) -> Allow | Block | Rewrite:
    what = call.arguments.get("value")
    if what == "hang":
        time.sleep(3600)
    if what == "crash":
        import os
        os.kill(os.getpid(), 9)
    if what == "raise":
        raise ValueError("no")
    if what == "bad":
        return "fine by me"
    if what == "secret":
        return Block("not that")
    if what == "old":
        return Rewrite({"value": "new"})
    return Allow()

@ext.hook("input")
def shorten(ctx: Context, asked: TextInput) -> ReplaceText | None:
    return ReplaceText(asked.text.strip())
"""


def write_guard(directory: Path, name: str, fail: str) -> Path:
    source = GUARD.replace("NAME", name).replace("FAIL", f'fail="{fail}"')
    return write_extension(directory, source, name=name)


async def guarded(host: ExtensionHost, value: str) -> tuple[HookVerdict, Any, list[str]]:
    """What a tool engine does: the hooks, once more if they rewrote, then the tool, if all agree; and its trace."""
    trace = ["tool_execution_start"]
    question = ToolCall(tool="acme.bench.echo", arguments={"value": value}, verdict="allow")
    verdict = await host.hooks.ask("tool_call", question)
    trace += [one.warning for one in verdict.warnings]
    if verdict.proceeds and verdict.rewritten:
        verdict = await host.hooks.ask("tool_call", verdict.question, again=True)
    result = None
    if verdict.proceeds:
        assert isinstance(verdict.question, ToolCall)
        outcome = await host.call("tool", "acme.bench.echo", verdict.question.arguments)
        trace.append("tool ran")
        result = outcome.value
    else:
        trace.append(str(verdict.error))
    return verdict, result, [*trace, "tool_execution_end"]


@pytest.mark.scenario("extensions#3")
async def test_a_hook_that_hangs(tmp_path: Path) -> None:
    """EXT-12: the tool does not run and the trace is balanced; declared open, a warning, and it runs."""
    tool = write_extension(tmp_path / "bench")
    for fail in ("closed", "open"):
        guard = write_guard(tmp_path / fail, f"acme.{fail}", fail)
        async with running(tool, guard, runtime=tmp_path / "runtime") as host:
            verdict, result, trace = await guarded(host, "hang")
            (failure,) = verdict.failures
            assert failure.code == "extension_timeout"
            if fail == "closed":
                assert result is None
                assert trace[1:-1] == ["tool_error: tool_blocked: hook_failed"]
            else:
                assert result == "hang"
                assert trace[1:-1] == ["extension_timeout", "tool ran"]
            assert (trace[0], trace[-1]) == ("tool_execution_start", "tool_execution_end")
            assert host.metrics.of("acme.bench").outcomes == ({} if fail == "closed" else {"ok": 1})


async def test_a_guard_in_a_worker(tmp_path: Path) -> None:
    """EXT-11, EXT-12: allowed, blocked, rewritten; a guard that raises, crashes or talks nonsense blocks."""
    tool = write_extension(tmp_path / "bench")
    guard = write_guard(tmp_path / "guard", "acme.guard", "closed")
    async with running(tool, guard, runtime=tmp_path / "runtime") as host:
        assert (await guarded(host, "fine"))[1] == "fine"
        assert (await guarded(host, "secret"))[2][1] == "tool_error: tool_blocked: not that"
        assert (await guarded(host, "old"))[1] == "new"
        for value, code in (("raise", "extension_error"), ("bad", None), ("crash", "extension_crashed")):
            verdict, result, trace = await guarded(host, value)
            assert result is None
            assert trace[1] == "tool_error: tool_blocked: hook_failed"
            assert code is None or verdict.failures[0].code == code
        said = await host.hooks.ask("input", TextInput(text="  hello "))
        assert said.question == TextInput(text="hello")
