"""An extension whose handlers are all plain, for the tests of the loop that serves them."""

from __future__ import annotations

EXTENSION = '''
import datetime, enum, os, sys, threading, time
from dataclasses import dataclass
from typing import Any, TypedDict
import msgspec
from web4.ext import Cancelled, Context, Extension, Failure

ext = Extension("acme.test")

@dataclass
class Point:
    x: int
    y: int = 0

class Named(TypedDict):
    name: str

class Shape(msgspec.Struct, tag=True):
    points: list[Point]

@ext.tool
def types(ctx: Context, shape: Shape, named: Named, raw: bytes, when: datetime.date, *, many: set[int]) -> dict:
    """Say which types came."""
    kinds = [type(one).__name__ for one in (shape, shape.points[0], named, raw, when, many)]
    return {"kinds": kinds, "when": when, "raw": raw, "many": sorted(many)}

@ext.tool
def ids(ctx: Context) -> dict:
    """All that a context says."""
    return {
        "session": ctx.ids.session, "call": ctx.call_id, "tmp": ctx.tmp, "config": ctx.config,
        "left": ctx.deadline - time.monotonic(), "key": ctx.idempotency_key, "cancelled": ctx.cancelled,
        "limits": ctx.limits,
    }

def deep(n):
    if n:
        return deep(n - 1)
    raise ValueError("the bottom")

@ext.tool
def fail(how: str) -> Any:
    """Fail in some way."""
    if how == "deep":
        secret = "hunter2"
        try:
            deep(30)
        except ValueError as error:
            raise RuntimeError("on top") from error
    if how == "own":
        raise Failure("no_ink", "the ink is out", retryable=True, data={"left": 0}, side_effects=False)
    if how == "exit":
        sys.exit(3)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "memory":
        raise MemoryError
    if how == "recursion":
        return fail(how)
    if how == "unprintable":
        class Odd(Exception):
            def __str__(self):
                raise OSError
        raise Odd
    if how == "object":
        return object()
    if how == "huge":
        return "x" * (5 << 20)
    if how == "integer":
        return 1 << 80
    if how == "long":
        raise ValueError("x" * 100_000)
    if how == "surrogate":
        raise ValueError("half \\ud800")
    if how == "cycle":
        cycle = []
        cycle.append(cycle)
        return cycle
    if how == "wrong types":
        raise Failure(7, 8, retryable="no", data=datetime.datetime.now(datetime.timezone.utc), side_effects="no")
    if how == "odd failure":
        raise Failure("odd", "its data cannot be sent", data=object())

@ext.command
def number() -> int:
    """No object."""
    return 3

@ext.hook("tool_call")
def guard(call):
    return None

@ext.tool
def prints() -> None:
    """Print."""
    print("a line")
    print("half", end="")
    print("to the other", file=sys.stderr)

@ext.tool
def steps(ctx: Context, count: int) -> int:
    """Progress, in order."""
    for n in range(count):
        ctx.progress(str(n), fraction=n / count - 0.001, data=datetime.date(2026, 1, 1))
    ctx.log("done", level="warning", count=count)
    return count

@ext.tool
def until_cancelled(ctx: Context) -> str:
    """Spin."""
    ctx.side_effects = False
    ctx.progress("on")
    while not ctx.cancelled:
        pass
    assert ctx.cancelled
    raise Cancelled

@ext.tool
def questions(ctx: Context) -> list:
    """Ask three things."""
    first, second = ctx.confirm("Sure?", "Really?", timeout_ms=100), ctx.select("Which?", ["a", "b"])
    answers = [second.wait(), first.wait(), ctx.input("Name?", placeholder="you").wait()]
    ctx.confirm("Never read")
    return [[one.outcome, one.value, bool(one)] for one in answers]

@ext.tool
def from_threads(ctx: Context) -> int:
    """Progress from many threads at once."""
    errors = []
    def work(n):
        for _ in range(50):
            ctx.progress("x" * 5000, data=n)
            ctx.cancelled
        try:
            ctx.confirm("In a thread?").wait()
        except RuntimeError as error:
            errors.append(str(error))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    [one.start() for one in threads]
    [one.join() for one in threads]
    return len(errors)

@ext.tool
def odd_words(ctx: Context) -> None:
    """Say things of the wrong types."""
    ctx.side_effects = "none"
    ctx.progress(7, fraction=float("nan"), data={3: datetime.date(2026, 1, 1)})
    ctx.log(8)
    ctx.log("half \\ud800")
    for try_it in (lambda: ctx.log("x", level="loud"), lambda: ctx.confirm("half \\ud800")):
        try:
            try_it()
        except ValueError as error:
            ctx.log(error)

@ext.tool
def fork(ctx: Context, how: str) -> int:
    """Fork, and let the child leave in some way; how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if how == "speak":
        ctx.progress("I am not here")
    if how == "return":
        return 7
    if how == "raise":
        raise ValueError
    sys.exit(3)

kept = []

@ext.tool
def late(ctx: Context) -> None:
    """Speak after the end."""
    if kept:
        kept[0].progress("late")
        kept[0].emit("late")
        assert not kept[0].cancelled
        try:
            kept[0].confirm("late")
        except RuntimeError as error:
            ctx.log(error)
    kept.append(ctx)

@ext.tool
def bad_words(ctx: Context) -> list:
    """Say what the protocol has no word for."""
    said = []
    for try_it in (lambda: ctx.progress(data=object()), lambda: ctx.log("x", huge="x" * (5 << 20)),
                   lambda: ctx.confirm("x" * (5 << 20))):
        try:
            try_it()
        except ValueError as error:
            said.append(str(error))
    return said
'''
