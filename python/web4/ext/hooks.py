"""What hooks are asked and what they may answer, point by point (EXT-10, EXT-11).

The node reads answers with the same types, so a hook in any language sends what stands here: a map with the key
`action`, or null where saying nothing is an answer.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec


class _Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of what a hook is asked. Keys it does not know are ignored, so a point may tell more later."""


class TextInput(_Question, frozen=True, kw_only=True):
    """Point `input`: somebody's text, before anything is made of it."""

    text: str


class RunPoint(_Question, frozen=True, kw_only=True):
    """Points `before_agent_start`, `run_start` and `run_end`. `run` says what is known of the run."""

    run: Any = None


class TurnPoint(_Question, frozen=True, kw_only=True):
    """Points `turn_start` and `turn_end`."""

    run: Any = None
    turn: Any = None


class ToolCall(_Question, frozen=True, kw_only=True):
    """Point `tool_call`: a tool is about to run. `verdict` is what the policy said; a hook cannot widen it."""

    tool: str
    arguments: dict[str, Any] = {}
    verdict: Any = None


class ToolResult(_Question, frozen=True, kw_only=True):
    """Point `tool_result`: a tool has run, its result is about to be seen."""

    tool: str
    result: Any = None
    arguments: dict[str, Any] = {}


class SessionSwitch(_Question, frozen=True, kw_only=True):
    """Point `session_before_switch`: a connection is about to turn from one session to another."""

    current: str | None = None
    target: str | None = None
    reason: str | None = None


class SessionFork(_Question, frozen=True, kw_only=True):
    """Point `session_before_fork`: a session is about to branch at a leaf."""

    session: str | None = None
    leaf: str | None = None


class LoopStep(_Question, frozen=True, kw_only=True):
    """The points of the agent loop, `before_perceive` to `after_memory` (LOOP-6)."""

    task: Any = None
    state: Any = None


class _Answer(
    msgspec.Struct, frozen=True, omit_defaults=True, tag_field="action", forbid_unknown_fields=True
):
    """Base of what a hook answers; `action` names it."""


class Allow(_Answer, frozen=True, tag="allow"):
    """`tool_call`: as far as this hook goes, the tool may run."""


class Block(_Answer, frozen=True, tag="block"):
    """`tool_call`: the tool does not run. Without a reason it is `blocked_by_extension`."""

    reason: str | None = None


class Rewrite(_Answer, frozen=True, tag="rewrite"):
    """`tool_call`: the tool runs with these arguments, which pass schema, policy and approval again (EXT-11)."""

    arguments: dict[str, Any]


class ReplaceText(_Answer, frozen=True, tag="text"):
    """`input`: go on with this text."""

    text: str


class Handled(_Answer, frozen=True, tag="handled"):
    """`input`: nothing is left to do; this is the answer to whoever wrote."""

    text: str


class ReplaceResult(_Answer, frozen=True, tag="result"):
    """`tool_result`: this is what the tool is taken to have said."""

    result: Any


class Cancel(_Answer, frozen=True, tag="cancel"):
    """`session_before_switch`, `session_before_fork`: it does not happen."""

    reason: str | None = None


class Annotate(_Answer, frozen=True, tag="annotate"):
    """Points of the loop: remember this beside the step."""

    annotation: Any


class Veto(_Answer, frozen=True, tag="veto"):
    """Points of the loop: the step does not happen."""

    reason: str | None = None


LOOP_POINTS: Final = (
    "before_perceive",
    "after_state",
    "before_decide",
    "after_decide",
    "before_exchange",
    "after_exchange",
    "after_memory",
)
"""The points of the agent loop, in its order (LOOP-6)."""

QUESTIONS: Final[dict[str, Any]] = {
    "input": TextInput,
    "before_agent_start": RunPoint,
    "run_start": RunPoint,
    "turn_start": TurnPoint,
    "turn_end": TurnPoint,
    "run_end": RunPoint,
    "tool_call": ToolCall,
    "tool_result": ToolResult,
    "session_before_switch": SessionSwitch,
    "session_before_fork": SessionFork,
} | dict.fromkeys(LOOP_POINTS, LoopStep)
"""What each point is asked. Its keys are all the points there are."""

ANSWERS: Final[dict[str, Any]] = {
    "input": ReplaceText | Handled | None,
    "before_agent_start": None,
    "run_start": None,
    "turn_start": None,
    "turn_end": None,
    "run_end": None,
    "tool_call": Allow | Block | Rewrite,
    "tool_result": ReplaceResult | None,
    "session_before_switch": Cancel | None,
    "session_before_fork": Cancel | None,
} | dict.fromkeys(LOOP_POINTS, Annotate | Veto | None)
"""What each point may answer; None where nothing is to be said. A guard of `tool_call` has to say what it means: a
hook that falls off its end has not allowed anything."""
