"""Workers that do anything in any order, in pieces of any size, against a small model of what must come of it.

`WEB4_ROUNDS` sets the number of calls, `WEB4_SEED` the seed.
"""

from __future__ import annotations

import os
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio

from tests.extensions.conversing import LONG, START, a_call, conversing, manifest
from tests.seeds import a_seed
from web4.extensions.conversation.terms import Terms

if TYPE_CHECKING:
    from web4.extensions.conversation.call import LogLine, ProgressUpdate
    from web4.extensions.conversation.conversation import Conversation

ROUNDS = int(os.environ.get("WEB4_ROUNDS", "60"))
SEED = a_seed()

PROGRAM = (
    START
    + """
import random
before = "none-yet"
out = b""

def put(data):
    global out
    out += data
    if rng.random() < 0.5:
        push()

def push():
    global out
    while out:
        size = rng.choice([1, 3, 100, 100000])
        s.sendall(out[:size])
        out = out[size:]

while True:
    call = hear()
    if call["t"] != "call":
        continue
    rng = random.Random(call["arguments"]["seed"])
    for step, value in call["arguments"]["steps"]:
        if step == "progress": put(raw({"t": "progress", "id": call["id"], "data": value}))
        elif step == "log": put(raw({"t": "log", "level": "info", "message": "m"}))
        elif step == "ping": put(raw({"t": "ping", "nonce": value}))
        elif step == "pong": put(raw({"t": "pong", "nonce": value}))
        elif step == "result": put(raw({"t": "result", "id": call["id"], "value": value}))
        elif step == "error": put(raw({"t": "error", "id": call["id"], "code": "c", "message": "m"}))
        elif step == "invalid": put(raw({"t": "result", "id": call["id"], "value": float("inf")}))
        elif step == "old": put(raw({"t": "result", "id": before, "value": value}))
        elif step == "unknown": put(raw({"t": "progress", "id": "never", "data": value}))
        elif step == "ready": put(raw({"t": "ready", "protocol": 1, "sdk": ""}))
        elif step == "garbage": put(raw(b"\\xc1" * 9))
        elif step == "long": put(b"\\x7f\\xff\\xff\\xff")
        elif step == "print": os.write(1, b"x" * value)
        else:
            push()
            if step == "exit": os._exit(value)
            if step == "kill": os.kill(os.getpid(), 9)
            if step == "close": s.close(); time.sleep(60)
            if step == "sleep": time.sleep(60)
    before = call["id"]
    put(raw({"t": "log", "level": "info", "message": "the end"}))
    push()
"""
)
HARMLESS = ["progress", "progress", "log", "ping", "pong", "print"]
OTHERS = [
    "old",
    "unknown",
    "ready",
    "garbage",
    "long",
    "exit",
    "kill",
    "close",
    "sleep",
    "result",
    "error",
    "invalid",
]
FATAL = {"unknown", "ready", "garbage", "long", "exit", "kill", "close"}


class Expected(NamedTuple):
    """What must come of a call."""

    outcome: str
    code: str | None
    value: Any
    exit_status: int | None
    lives: bool
    reusable: bool
    discarded: int
    progress: list[int]


ENDS = {
    "result": ("ok", None),
    "error": ("error", "extension_error"),
    "invalid": ("error", "extension_invalid_result"),
    "exit": ("crashed", "extension_crashed"),
    "kill": ("crashed", "extension_crashed"),
    "close": ("crashed", "extension_protocol_error"),
    "sleep": ("timeout", "extension_timeout"),
}
BROKEN = ("killed", "extension_protocol_error")


def predict(steps: list[tuple[str, int]], *, first: bool, reusable: bool, discarded: int) -> Expected:
    """The model: one look at each step, in order."""
    ended: tuple[str, str | None] | None = None
    value: Any = None
    status: int | None = None
    lives = True
    progress: list[int] = []
    for step, number in steps:
        late = ended is not None and step in ("result", "error", "invalid", "progress")
        if late or (step == "old" and not first):
            discarded += 1
            reusable = False
        elif step == "progress":
            progress.append(number)
        elif step in OTHERS:
            if ended is None:
                ended = ENDS.get(step, BROKEN)
                value = number if step == "result" else None
                status = number if step == "exit" else None
                lives = step != "sleep"
            lives = lives and step not in FATAL and step != "old"
        if not lives or step == "sleep":
            break
    assert ended is not None
    return Expected(*ended, value, status, lives, reusable and lives, discarded, progress)


def any_steps(rng: random.Random) -> list[tuple[str, int]]:
    steps = []
    for number in range(rng.randrange(12)):
        steps.append((rng.choice(HARMLESS if rng.random() < 0.75 else OTHERS), number))
    if rng.random() < 0.7:
        steps = [one for one in steps if one[0] in HARMLESS or rng.random() < 0.2]
    steps = [one for one in steps if one[0] not in ("sleep", "close") or rng.random() < 0.15]
    return [*steps, ("result", 99)]


async def heard_out(conversation: Conversation, lines: list[LogLine]) -> None:
    """Until the worker has said all that it has to say, or is dead."""
    while conversation.process.exit is None and not any(line.text == "the end" for line in lines):
        conversation.attend()
        await trio.sleep(0.0005)


@pytest.mark.scenario("extensions#5")
async def test_anything_in_any_order() -> None:
    print(f"WEB4_SEED={SEED}")
    rng = random.Random(SEED)
    left = ROUNDS
    while left > 0:
        lines: list[LogLine] = []
        terms = Terms(manifest(), on_log=lines.append)
        async with AsyncExitStack() as stack:
            conversation = await stack.enter_async_context(conversing(PROGRAM, terms=terms))
            first, reusable, discarded = True, True, 0
            while left > 0:
                left -= 1
                steps = any_steps(rng)
                expected = predict(steps, first=first, reusable=reusable, discarded=discarded)
                seen: list[ProgressUpdate] = []
                lines.clear()
                # Only what cannot be answered is given little time, so that a busy machine changes nothing.
                sleeps = expected.outcome == "timeout"
                arguments = {"seed": rng.getrandbits(32), "steps": steps}
                call = a_call(
                    arguments, timeout_ms=400 if sleeps else int(LONG * 500), on_progress=seen.append
                )
                outcome = await conversation.call(call)
                if not any(step == "sleep" for step, _ in steps):
                    await heard_out(conversation, lines)
                    told = (outcome.outcome, outcome.code, outcome.value)
                    assert told == expected[:3], steps
                    if expected.outcome == "crashed":
                        assert outcome.exit_status == expected.exit_status, steps
                    assert (conversation.process.exit is None) is expected.lives, steps
                    assert conversation.discarded == expected.discarded, steps
                    assert conversation.reusable is expected.reusable, steps
                    told_of = [one.data for one in seen]
                    assert told_of == [one for one in expected.progress if one in told_of], steps
                    if outcome.outcome in ("ok", "error"):
                        assert told_of[-1:] == expected.progress[-1:], steps
                else:
                    assert outcome.outcome == expected.outcome, steps
                    break
                first, reusable, discarded = False, expected.reusable, expected.discarded
                if not expected.lives or rng.random() < 0.05:
                    break
