"""Every kind and every hook point, with the SDK. `../c` and `../shell` hold the same extension without it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from web4.ext import (
    Allow,
    Annotate,
    Block,
    Cancel,
    Cancelled,
    Commit,
    Context,
    Extension,
    Failure,
    Handled,
    Issue,
    LoopStep,
    ReplaceResult,
    ReplaceText,
    Rewrite,
    RunPoint,
    SessionFork,
    SessionSwitch,
    TextInput,
    ToolCall,
    ToolResult,
    TurnPoint,
    Veto,
)
from web4.ext.hooks import LOOP_POINTS

ext = Extension("examples.python")


@dataclass
class Echoed:
    text: str


@ext.tool(idempotent=True)
def echo(text: str) -> Echoed:
    """Say it again."""
    return Echoed(text)


@ext.tool
def count(ctx: Context, count: int) -> int:
    """Count, as progress."""
    for number in range(count):
        ctx.progress(data=number)
    return count


@ext.tool
def fail() -> None:
    """Fail."""
    raise Failure("broken", "it is broken", retryable=True, side_effects=False)


@ext.tool
def wait(ctx: Context) -> None:
    """Work until it is told to stop."""
    ctx.progress("working", fraction=0.5)
    ctx.side_effects = False
    while not ctx.cancelled:
        time.sleep(0.001)
    raise Cancelled


@ext.tool
def ask(ctx: Context, question: str) -> dict[str, Any]:
    """Ask a person, and say what came of it.

    Args:
        question: What is asked.
    """
    reply = ctx.confirm(question).wait()
    return {"outcome": reply.outcome, "value": reply.value}


@ext.command
def status(ctx: Context) -> dict[str, Any]:
    """What this worker is."""
    ctx.log("asked for its status")
    return {"language": "python", "tmp": ctx.tmp}


@ext.service
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}"


@ext.workload
def tokens(ctx: Context, request: Any) -> dict[str, bool]:
    """Count to three, as events of the turn."""
    for number in range(1, 4):
        ctx.emit("token_delta", {"text": str(number)})
    return {"accepted": bool(ctx.intent({"type": "note"}).wait())}


@ext.rule(version="1.0.0")
def shouting(ctx: Context, commit: Commit) -> list[Issue]:
    """Object to turns that end with an exclamation mark."""
    if commit.turn["text"].endswith("!"):
        return [Issue("shouting", "there is no need to shout")]
    return []


@ext.hook("input")
def on_input(ctx: Context, question: TextInput) -> ReplaceText | Handled | None:
    if question.text == "ping":
        return Handled("pong")
    if question.text == "teh":
        return ReplaceText("the")
    return None


@ext.hook("tool_call", order=10)
def on_tool_call(ctx: Context, call: ToolCall) -> Allow | Block | Rewrite:
    if call.tool == "rm":
        return Block("nothing is removed here")
    if call.tool == "ls":
        return Rewrite({"path": "."})
    return Allow()


@ext.hook("tool_result")
def on_tool_result(ctx: Context, question: ToolResult) -> ReplaceResult | None:
    return ReplaceResult("withheld") if question.result == "secret" else None


@ext.hook("session_before_switch")
def on_switch(ctx: Context, question: SessionSwitch) -> Cancel | None:
    return Cancel("it is locked") if question.target == "locked" else None


@ext.hook("session_before_fork")
def on_fork(ctx: Context, question: SessionFork) -> Cancel | None:
    return Cancel("it is locked") if question.leaf == "locked" else None


@ext.hook("before_agent_start")
@ext.hook("run_start")
@ext.hook("run_end")
def on_run(ctx: Context, question: RunPoint) -> None:
    ctx.log("run")


@ext.hook("turn_start")
@ext.hook("turn_end")
def on_turn(ctx: Context, question: TurnPoint) -> None:
    ctx.log("turn")


def on_loop(ctx: Context, question: LoopStep) -> Annotate | Veto | None:
    if question.task == "forbidden":
        return Veto("it is forbidden")
    return Annotate({"seen": question.task})


for point in LOOP_POINTS:
    ext.hook(point)(on_loop)
