"""Extensions that answer what a test says, and a question for each hook point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import trio

from web4.ext.hooks import (
    LOOP_POINTS,
    LoopStep,
    RunPoint,
    SessionFork,
    SessionSwitch,
    TextInput,
    ToolCall,
    ToolResult,
    TurnPoint,
)
from web4.extensions.manifests.manifest import Hook, Manifest
from web4.extensions.outcome import CallOutcome
from web4.worker.request import PythonEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.worker.frames import CallContext

CALL = ToolCall(tool="acme.notes.search", arguments={"query": "lamp"}, verdict="allow")
QUESTION: Mapping[str, msgspec.Struct] = {
    "input": TextInput(text="hello"),
    "before_agent_start": RunPoint(run={"id": "r"}),
    "run_start": RunPoint(run={"id": "r"}),
    "turn_start": TurnPoint(run={"id": "r"}, turn={"id": "1"}),
    "turn_end": TurnPoint(run={"id": "r"}, turn={"id": "1"}),
    "run_end": RunPoint(run={"id": "r"}),
    "tool_call": CALL,
    "tool_result": ToolResult(tool="acme.notes.search", result={"hits": 1}),
    "session_before_switch": SessionSwitch(current="a", target="b", reason="user"),
    "session_before_fork": SessionFork(session="a", leaf="7"),
} | dict.fromkeys(LOOP_POINTS, LoopStep(task={"id": "t"}, state={}))


def extension(name: str, *hooks: Hook) -> Manifest:
    return Manifest(
        name=name, version="1.0.0", description="a test", entry=PythonEntry("ext", "ext"), hooks=hooks
    )


def at(point: str = "tool_call", **declared: Any) -> Hook:
    return Hook(point=point, **declared)


def ended(name: str, point: str, value: Any = None, *, code: str | None = None) -> CallOutcome:
    outcome: Any = "ok" if code is None else "timeout" if code == "extension_timeout" else "error"
    return CallOutcome(
        outcome=outcome,
        code=code,
        extension=name,
        version="1.0.0",
        operation=f"hook:{point}",
        reason=None if code is None else f"{name} did not answer",
        value=value,
        call_id=f"call of {name}",
        elapsed_ms=1.5,
    )


class Workers:
    """Extensions that answer what a test says: a value, a code (`!code`), or a function of the arguments."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []
        self.contexts: list[CallContext] = []

    async def __call__(
        self, extension: str, kind: str, name: str, arguments: dict[str, Any], context: CallContext
    ) -> CallOutcome:
        assert kind == "hook"
        self.asked.append((extension, arguments))
        self.contexts.append(context)
        answer = self.answers[extension]
        if callable(answer):
            answer = answer(arguments)
        if isinstance(answer, Exception):
            raise answer
        if hasattr(answer, "__await__"):
            answer = await answer
        await trio.lowlevel.checkpoint()
        if isinstance(answer, str) and answer.startswith("!"):
            return ended(extension, name, code=answer[1:])
        return ended(extension, name, msgspec.msgpack.decode(msgspec.msgpack.encode(answer)))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


ALLOW = {"action": "allow"}
