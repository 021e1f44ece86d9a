"""The checks, each with a fresh run of the program. They read as the chapter on the protocol does."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from web4.ext.conformance.program import NonconformingError, Program, frame_of, shown, wide
from web4.ext.hooks import ANSWERS, LOOP_POINTS, QUESTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTHS: Final = (0, 1, 31, 32, 255, 256, 65_535, 65_536, 300_000)
"""Bytes of a text: about the borders of the forms that msgpack has for one."""
UNKNOWN: Final[dict[str, Any]] = {
    "later": [None, True, -1, 2**63, 1.5, b"bytes", {"deep": [[[]]]}],
    "even later": "x" * 300,
}
"""What a node of a later version may say beside what is known (EXT-15)."""


class Check(NamedTuple):
    """One check."""

    name: str
    rule: str
    run: Callable[[Program], None]


_CHECKS: Final[list[Check]] = []


def _check(name: str, rule: str) -> Callable[[Callable[[Program], None]], Callable[[Program], None]]:
    def add(run: Callable[[Program], None]) -> Callable[[Program], None]:
        _CHECKS.append(Check(name, rule, run))
        return run

    return add


def all_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are run."""
    return tuple(_CHECKS)


def greet(program: Program, name: str) -> dict[str, Any]:
    """Say hello, and hear that the program is ready."""
    program.send(
        **UNKNOWN,  # first, so that whoever looks for what it knows has to step over them
        t="hello",
        protocol=1,
        extension=name,
        version="1.0.0",
        worker_id="worker-1",
        generation=1,
        config={"colour": "red"},
        limits={"memory_mb": 256},
        tmp="/nonexistent",
    )
    return program.expect("ready", protocol=1)


def _same(found: Any, due: Any, what: str) -> None:
    if found != due:
        raise NonconformingError(f"{what} is {shown(found)}, not {shown(due)}")


@_check("calls are answered, one after another, whatever the length of a text", "EXT-14")
def _calls(program: Program) -> None:
    for text in ("ä€😀\0\n", *("x" * length for length in LENGTHS)):
        _same(
            program.result(program.call("tool", "echo", {"text": text})), {"text": text}, "the value of echo"
        )


@_check("keys that are not known are ignored, whatever they hold", "EXT-15")
def _unknown_keys(program: Program) -> None:
    call_id = program.call("tool", "echo", {"text": "a"}, **UNKNOWN)
    _same(program.result(call_id), {"text": "a"}, "the value of echo")


@_check("every form that msgpack has for a value is read", "EXT-14")
def _widths(program: Program) -> None:
    call = {"t": "call", "id": "wide", "kind": "tool", "name": "echo", "arguments": {"text": "wide"}}
    more: dict[str, Any] = {"deadline_ms": 60_000, "idempotency_key": None, "context": {}}
    unknown = {"later": [-1, -128, 2**62, "text", b"", {"a": []}]}
    program.send_bytes(frame_of(wide(unknown | call | more)))
    _same(program.result("wide"), {"text": "wide"}, "the value of echo")
    for number in (0, 1, 127, 128):
        call_id = program.call("tool", "count", {"count": number})
        for due in range(number):
            program.expect("progress", id=call_id, data=due)
        _same(program.result(call_id), number, "the value of count")


@_check("a frame may come in pieces, and several at once", "EXT-14")
def _pieces(program: Program) -> None:
    def call(number: int) -> bytes:
        message = {
            "t": "call",
            "id": f"piece-{number}",
            "kind": "tool",
            "name": "echo",
            "deadline_ms": 60_000,
        }
        return frame_of(msgspec.msgpack.encode(message | {"arguments": {"text": str(number)}, "context": {}}))

    for byte in call(0):
        program.send_bytes(bytes([byte]))
    _same(program.result("piece-0"), {"text": "0"}, "the value of echo")
    # One call is open at a time, so what can come behind it at once is what is no call.
    program.send_bytes(call(1) + frame_of(msgspec.msgpack.encode({"t": "ping", "nonce": 1})))
    kinds = {msgspec.to_builtins(program.receive())["t"] for _ in range(2)}
    _same(kinds, {"result", "pong"}, "what came of a call and a ping in one piece")


@_check("progress comes in order, before the result", "EXT-17")
def _progress(program: Program) -> None:
    call_id = program.call("tool", "count", {"count": 300})
    for number in range(300):
        program.expect("progress", id=call_id, data=number)
    _same(program.result(call_id), 300, "the value of count")


@_check("a failure is an error with its code, and the program lives on", "EXT-15")
def _errors(program: Program) -> None:
    for _ in range(2):
        program.expect("error", id=program.call("tool", "fail", {}), code="broken", retryable=True)
    program.expect("error", id=program.call("tool", "no such tool", {}))
    program.expect("error", id=program.call("tool", "echo", {"text": 7}))
    _same(program.result(program.call("tool", "echo", {"text": "a"})), {"text": "a"}, "the value of echo")


@_check("a call that is cancelled ends with the error `cancelled`", "EXT-19")
def _cancel(program: Program) -> None:
    for _ in range(3):
        call_id = program.call("tool", "wait", {})
        program.expect("progress", id=call_id)
        program.send(t="cancel", id="another", reason="it crossed its answer")
        program.send(t="ping", nonce=1)
        program.expect("pong", nonce=1)  # and no answer of the call before it
        program.send(**UNKNOWN, t="cancel", id=call_id, reason="enough")
        program.expect("error", id=call_id, code="cancelled")
        program.send(t="cancel", id=call_id, reason="it crossed its answer too")
    _same(program.result(program.call("tool", "echo", {"text": "a"})), {"text": "a"}, "the value of echo")


@_check("a question to a person is asked and its answer taken; a late one does no harm", "EXT-18")
def _questions(program: Program) -> None:
    outcomes = [
        ("answered", True),
        ("answered", False),
        ("cancelled", None),
        ("timed_out", None),
        ("refused", None),
    ]
    for outcome, value in outcomes:
        call_id = program.call("tool", "ask", {"question": "Sure?"})
        asked = program.expect("ui_request", id=call_id, method="confirm")
        _same(asked["fields"]["title"], "Sure?", "the title")
        program.send(t="ui_answer", request_id="another", outcome="answered", value="not this")
        answer = {"t": "ui_answer", "request_id": asked["request_id"], "outcome": outcome}
        program.send(**(answer if value is None else answer | {"value": value}))
        _same(program.result(call_id), {"outcome": outcome, "value": value}, "what came of the question")
        program.send(**answer)
    call_id = program.call("tool", "ask", {"question": "Sure?"})
    program.expect("ui_request", id=call_id)
    program.send(t="cancel", id=call_id, reason="enough")
    program.expect("error", id=call_id, code="cancelled")


@_check("a command, a service and a rule answer", "EXT-9")
def _others(program: Program) -> None:
    value = program.result(program.call("command", "status", {}))
    if not isinstance(value, dict):
        raise NonconformingError(f"a command answers an object, not {shown(value)}")
    _same(
        program.result(program.call("service", "greet", {"name": "you"})), "Hello, you", "the value of greet"
    )
    for text, issues in (("Hello", []), ("Hello!", ["shouting"])):
        arguments = {"state": {}, "turn": {"text": text}, "intents": []}
        found = program.result(program.call("rule", "shouting", arguments))
        _same([one["code"] for one in found], issues, f"what the rule says of {text!r}")


@_check("a workload emits events and learns what became of its intent", "EXT-9")
def _workload(program: Program) -> None:
    for ok in (True, False):
        call_id = program.call("workload", "tokens", {"context_version": 1})
        for text in "123":
            program.expect("emit", id=call_id, event_type="token_delta", payload={"text": text})
        intent = program.expect("intent", id=call_id, intent={"type": "note"})
        answer = {"t": "intent_answer", "id": call_id, "intent_id": intent["intent_id"], "ok": ok}
        program.send(**(answer if ok else answer | {"error": "conflict"}))
        _same(program.result(call_id), {"accepted": ok}, "what came of the intent")


HOOKS: Final[tuple[tuple[str, dict[str, Any], Any], ...]] = (
    ("input", {"text": "ping"}, {"action": "handled", "text": "pong"}),
    ("input", {"text": "teh"}, {"action": "text", "text": "the"}),
    ("input", {"text": "else"}, None),
    ("before_agent_start", {"run": {"id": "r"}}, None),
    ("run_start", {"run": {"id": "r"}}, None),
    ("turn_start", {"run": {"id": "r"}, "turn": {"id": "t"}}, None),
    ("turn_end", {"run": {"id": "r"}, "turn": {"id": "t"}}, None),
    ("run_end", {"run": {"id": "r"}}, None),
    ("tool_call", {"tool": "rm", "arguments": {}}, {"action": "block", "reason": "nothing is removed here"}),
    ("tool_call", {"tool": "ls", "arguments": {}}, {"action": "rewrite", "arguments": {"path": "."}}),
    ("tool_call", {"tool": "cat", "arguments": {"path": "a"}, "verdict": "allow"}, {"action": "allow"}),
    ("tool_result", {"tool": "cat", "result": "secret"}, {"action": "result", "result": "withheld"}),
    ("tool_result", {"tool": "cat", "result": {"text": "a"}}, None),
    (
        "session_before_switch",
        {"current": "a", "target": "locked"},
        {"action": "cancel", "reason": "it is locked"},
    ),
    ("session_before_switch", {"current": "a", "target": "b"}, None),
    (
        "session_before_fork",
        {"session": "a", "leaf": "locked"},
        {"action": "cancel", "reason": "it is locked"},
    ),
    ("session_before_fork", {"session": "a", "leaf": "b"}, None),
    *((one, {"task": "forbidden"}, {"action": "veto", "reason": "it is forbidden"}) for one in LOOP_POINTS),
    *((one, {"task": "t"}, {"action": "annotate", "annotation": {"seen": "t"}}) for one in LOOP_POINTS),
)
"""What each point is asked, and what is due (EXT-10)."""


@_check("every hook point is asked and answers in its own words", "EXT-10")
def _hooks(program: Program) -> None:
    assert {point for point, _, _ in HOOKS} == set(QUESTIONS)
    for point, question, due in HOOKS:
        value = program.result(program.call("hook", point, question))
        _same(value, due, f"the answer at {point}")
        msgspec.convert(value, ANSWERS[point])


@_check("a ping is answered, while nothing is to be done and while a call looks", "EXT-15")
def _ping(program: Program) -> None:
    for nonce in (0, 1, 2**31, 2**53):
        program.send(t="ping", nonce=nonce)
        program.expect("pong", nonce=nonce)
    call_id = program.call("tool", "wait", {})
    program.expect("progress", id=call_id)
    program.send(t="ping", nonce=7)
    program.expect("pong", nonce=7)


@_check("a drained program ends by itself, with status 0", "EXT-15")
def _drain(program: Program) -> None:
    program.send(**UNKNOWN, t="drain")
    _same(program.ends(), 0, "its exit status")


@_check("a drained program finishes the call that is open", "EXT-15")
def _drain_open(program: Program) -> None:
    call_id = program.call("tool", "ask", {"question": "Sure?"})
    asked = program.expect("ui_request", id=call_id)
    program.send(t="drain")
    program.send(t="ui_answer", request_id=asked["request_id"], outcome="answered", value=True)
    _same(program.result(call_id), {"outcome": "answered", "value": True}, "what came of the question")
    _same(program.ends(), 0, "its exit status")


@_check("a program whose socket ends, ends", "EXT-34")
def _hang_up(program: Program) -> None:
    program.hang_up()
    _wait_for_end(program)


@_check("a program whose socket ends while it works, ends", "EXT-34")
def _hang_up_at_work(program: Program) -> None:
    call_id = program.call("tool", "ask", {"question": "Sure?"})
    program.expect("ui_request", id=call_id)
    program.hang_up()
    _wait_for_end(program)


def _wait_for_end(program: Program) -> None:
    try:
        program.process.wait(program.patience)
    except subprocess.TimeoutExpired:
        raise NonconformingError(f"it still runs after {program.patience:g} s") from None


@_check("a length over the limit is not waited for", "EXT-14")
def _oversize(program: Program) -> None:
    program.send_bytes(b"\xff\xff\xff\xff")
    if program.ends() == 0:
        raise NonconformingError("it ended as if nothing were wrong, with status 0")


@_check("what is no map is not taken for one", "EXT-14")
def _no_map(program: Program) -> None:
    program.send_bytes(frame_of(b"\xc0"))
    if program.ends() == 0:
        raise NonconformingError("it ended as if nothing were wrong, with status 0")


@_check("what is no msgpack is not taken for any", "EXT-14")
def _garbage(program: Program) -> None:
    program.send_bytes(frame_of(b"\x81\xa1t\xc1"))
    if program.ends() == 0:
        raise NonconformingError("it ended as if nothing were wrong, with status 0")
