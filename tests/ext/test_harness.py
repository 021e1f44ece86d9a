"""The harness (EXT-44), and through it the examples: each kind, every hook point, in three languages."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.ext.workers import EXAMPLES, build, source
from web4.ext.conformance.checks import HOOKS
from web4.ext.hooks import QUESTIONS, SessionFork, TextInput, ToolCall
from web4.ext.testing import Harness
from web4.extensions.conversation.call import IntentReply, UiQuestion, UiReply
from web4.extensions.errors import CallError, ManifestError, WorkerStartError
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    "outcome",
    "code",
    "extension",
    "version",
    "operation",
    "reason",
    "isolated",
    "timeout_ms",
    "elapsed_ms",
    "queue_ms",
    "exit_status",
    "signal",
    "peak_memory_bytes",
    "cpu_ms",
    "worker_id",
    "call_id",
    "retryable",
    "sandbox",
}
"""Of EXT-26."""


KINDS = ("worker_started", "worker_exited")


def fresh(language: str, directory: Path) -> Path:
    """A fresh directory with the example in a language."""
    shutil.copytree(EXAMPLES / language, directory, ignore=shutil.ignore_patterns("__pycache__"))
    if language == "c":
        build(source(), directory, "-O1")
    return directory


def agree(question: UiQuestion) -> UiReply:
    return UiReply("answered", question.fields["title"] == "Sure?")


@pytest.mark.scenario("extensions#1")
@pytest.mark.parametrize("language", ["python", "c", "shell"])
async def test_ext_9_each_kind_and_every_hook_point_from_a_fresh_directory(
    tmp_path: Path, language: str
) -> None:
    async with Harness(fresh(language, tmp_path / "ext"), answer=agree) as harness:
        assert harness.name == f"examples.{language}"
        # Tools, with progress, an error, a question, and a deadline.
        assert await harness.value("echo", {"text": "ä€😀"}) == {"text": "ä€😀"}
        assert await harness.value("count", {"count": 3}) == 3
        assert [one.data for one in harness.progress][-1] == 2
        failed = await harness.failure("fail", code="extension_error", reason=r"^broken: it is broken")
        assert (failed.outcome, failed.retryable, failed.side_effects) == ("error", True, False)
        assert await harness.value("ask", {"question": "Sure?"}) == {"outcome": "answered", "value": True}
        assert await harness.value("ask", {"question": "Or not?"}) == {"outcome": "answered", "value": False}
        assert [one.method for one in harness.asked] == ["confirm", "confirm"]
        # The other kinds.
        assert (await harness.value("status", kind="command"))["language"] == language
        assert any("asked for its status" in line for line in harness.lines())
        assert await harness.value("greet", {"name": "you"}, kind="service") == "Hello, you"
        for text, codes in (("Hello", []), ("Hello!", ["shouting"])):
            question = {"state": {}, "turn": {"text": text}, "intents": []}
            issues = await harness.value("shouting", question, kind="rule")
            assert [one["code"] for one in issues] == codes
        assert await harness.value("tokens", {"context_version": 1}, kind="workload") == {"accepted": True}
        assert [(one.event_type, one.payload["text"]) for one in harness.emitted] == [
            ("token_delta", text) for text in "123"
        ]
        assert list(harness.intents) == [{"type": "note"}]
        # Every hook point, as a worker answers and as the node takes it.
        assert {point for point, _, _ in HOOKS} == set(QUESTIONS)
        for point, question, due in HOOKS:
            assert await harness.value(point, question, kind="hook") == due, point
            verdict = await harness.ask(point, msgspec.convert(question, QUESTIONS[point]))
            stopped = due is not None and due["action"] in {"block", "cancel", "veto"}
            assert verdict.proceeds is not stopped, point
            assert verdict.failures == (), point
        # Its time runs out: killed, and the next call is served by another worker.
        killed = await harness.failure("wait", code="extension_timeout", timeout_ms=150)
        assert (killed.outcome, killed.signal, killed.timeout_ms) == ("timeout", 9, 150)
        assert await harness.value("echo", {"text": "again"}) == {"text": "again"}
        assert harness.outcomes[-1].worker_id != killed.worker_id
        for outcome in harness.outcomes:
            assert set(msgspec.to_builtins(outcome)) >= KEYS
            assert outcome.isolated is True
            assert outcome.worker_id is not None
    told = {
        kind: [one.fields["worker_id"] for one in harness.telemetry if one.type == kind] for kind in KINDS
    }
    assert len(set(told["worker_exited"])) == len(told["worker_exited"])
    # One that was started when the harness ended may be told to have ended only.
    assert set(told["worker_started"]) <= set(told["worker_exited"])


async def test_ext_19_a_call_that_is_cancelled_is_told_so(tmp_path: Path) -> None:
    async with Harness(fresh("python", tmp_path / "ext")) as harness:
        with trio.move_on_after(30) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(harness.call, "wait")
                while not harness.progress:  # noqa: ASYNC110 - it wakes nobody
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
        assert not scope.cancelled_caught
        assert await harness.value("echo", {"text": "a"}) == {"text": "a"}


async def test_ext_44_the_harness_says_what_was_due_and_what_came(tmp_path: Path) -> None:
    def decide(intent: Any) -> IntentReply:
        return IntentReply(ok=False, error="conflict")

    async with Harness(fresh("python", tmp_path / "ext"), decide=decide) as harness:
        with pytest.raises(AssertionError, match=r"tool:fail failed\n(.*\n)*  reason: broken: it is broken"):
            await harness.value("fail")
        with pytest.raises(AssertionError, match=r"not fail with extension_error\n  outcome: ok"):
            await harness.failure("echo", {"text": "a"}, code="extension_error")
        with pytest.raises(AssertionError, match="with 'smoke'"):
            await harness.failure("fail", code="extension_error", reason="smoke")
        with pytest.raises(CallError):
            await harness.call("echo", {"text": 1})
        with pytest.raises(CallError):
            await harness.call("no_such_tool")
        assert await harness.value("tokens", {}, kind="workload") == {"accepted": False}
        asked = await harness.value("ask", {"question": "?"})
        assert asked == {"outcome": "refused", "value": None}
        context = CallContext(session="s", run="r")
        assert (await harness.ask("input", TextInput(text="ping"), context)).handled == "pong"
        verdict = await harness.ask("tool_call", ToolCall(tool="ls"))
        assert (verdict.proceeds, verdict.rewritten) == (True, True)
        assert (await harness.ask("session_before_fork", SessionFork(leaf="locked"))).reason == "it is locked"
        module = harness.directory / "everything.py"
        module.write_text(module.read_text().replace("return Echoed(text)", "return Echoed(text.upper())"))
        assert await harness.reload() == 2
        assert await harness.value("echo", {"text": "loud"}) == {"text": "LOUD"}
    with pytest.raises(RuntimeError, match="context manager"):
        await harness.call("echo", {"text": "a"})


ASYNC = '''
import trio
from web4.ext import Context, Extension

ext = Extension("acme.strict")


@ext.tool
async def greet(ctx: Context, who: str) -> str:
    """Greet, after asking."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 0.001)
        reply = await ctx.confirm("Sure?")
    await ctx.progress("nearly there")
    print("greeting", who)
    return f"Hello, {who}" if reply else "Never mind"
'''


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
async def test_ext_29_async_handlers_work_whatever_the_sandbox(tmp_path: Path, level: str) -> None:
    (tmp_path / "strict.py").write_text(ASYNC)
    tool = {"name": "greet", "description": "Greet.", "input_schema": {"type": "object"}}
    manifest = {
        "schema": 1,
        "protocol": 1,
        "name": "acme.strict",
        "version": "1.0.0",
        "description": "For tests.",
        "entry": {"python": "strict:ext"},
        "ui": True,
        "tools": [tool],
        "sandbox": {"level": level},
    }
    (tmp_path / "web4-extension.json").write_bytes(msgspec.json.encode(manifest))
    async with Harness(tmp_path, answer=agree) as harness:
        outcome = await harness.call("greet", {"who": "you"})
        assert (outcome.value, outcome.sandbox) == ("Hello, you", level)
        assert "greeting you" in list(harness.lines())


async def test_ext_44_what_is_no_extension_does_not_enter(tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        async with Harness(tmp_path):
            pytest.fail("it entered")
    broken = fresh("python", tmp_path / "broken")
    (broken / "everything.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(WorkerStartError) as caught:
        async with Harness(broken):
            pytest.fail("it entered")
    assert caught.value.code == "extension_start_failed"
    renamed = fresh("python", tmp_path / "renamed")
    manifest = renamed / "web4-extension.toml"
    manifest.write_text(manifest.read_text().replace('name = "echo"', 'name = "ekko"'))
    with pytest.raises(WorkerStartError, match=r"echo|ekko"):
        async with Harness(renamed):
            pytest.fail("it entered")


async def test_ext_44_an_exception_of_the_test_comes_out_as_it_was(tmp_path: Path) -> None:
    class MineError(Exception):
        pass

    directory = fresh("python", tmp_path / "ext")
    with pytest.raises(MineError):
        async with Harness(directory):
            raise MineError
    with trio.move_on_after(60) as scope:
        async with Harness(directory):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
