"""What came of a hook's call, read without trust, and what a chain of hooks comes to (EXT-11, EXT-12)."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from web4.ext.hooks import ANSWERS, Rewrite
from web4.foundation.digest import canonical

if TYPE_CHECKING:
    from web4.extensions.manifests.manifest import Hook
    from web4.extensions.outcome import CallOutcome

BLOCKED: Final = "blocked_by_extension"
"""The reason of whoever gives none."""
HOOK_FAILED: Final = "hook_failed"
UNSETTLED: Final = "rewrite_not_settled"
"""The reason when arguments that were rewritten once are to be rewritten again."""
MAX_REASON: Final = 1_000
"""Characters of a reason; what is longer is cut, so that a block stays one."""
_DEEPEST: Final = 100

Warning_ = Literal["extension_timeout", "extension_hook_error"]
_TIMEOUTS: Final = frozenset({"extension_timeout", "extension_start_timeout"})


class HookFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A hook that gave no answer, or a bad one (EXT-12).

    Args:
        extension: Whose.
        code: One of EXT-27, or of a `CallError`: why there is no answer; `extension_error` for a bad one.
        reason: A sentence. Never the answer's contents.
        closed: Its fail mode: whether the guarded act does not happen. Otherwise this is a warning.
        call_id: Of the call, if there was one.
    """

    extension: str
    code: str
    reason: str
    closed: bool
    call_id: str | None = None

    @property
    def warning(self) -> Warning_:
        """The code of the warning that an open hook's failure is (NDJ-27)."""
        return "extension_timeout" if self.code in _TIMEOUTS else "extension_hook_error"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One hook that was asked: a fact that the trace keeps. `action` is None where it answered nothing, or failed."""

    extension: str
    call_id: str | None = None
    action: str | None = None
    code: str | None = None
    elapsed_ms: float | None = None


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """A remark of a hook of the loop (LOOP-6)."""

    extension: str
    annotation: Any


class HookVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the hooks of a point came to.

    It only ever narrows (EXT-11): `proceeds` says that no hook objected, never that something is permitted.

    Args:
        point: Which.
        proceeds: Whether the guarded act may go on, as far as hooks are concerned.
        question: As the last hook left it: `text`, `arguments` or `result` are what goes on from here. A result that is
            withheld is None in it.
        rewritten: Whether a hook changed the arguments of a tool. Then schema, policy and approval come again, an
            approval of the old arguments covers nothing, and the hooks are asked with `again=True`: those that had
            their turn before the rewrite have not judged what it made (EXT-11, AGT-30).
        handled: What a hook of `input` answered in place of the model.
        stopped_by: The extension that ended the chain.
        reason: Why it does not proceed.
        error: How that is told: `tool_error: tool_blocked: <reason>`, `session_hook_failed`, `extension_error` …
        annotations: Of hooks of the loop, in order.
        failures: Hooks that failed, in order.
        asked: All hooks that were asked, in order.
    """

    point: str
    proceeds: bool
    question: msgspec.Struct
    rewritten: bool = False
    handled: str | None = None
    stopped_by: str | None = None
    reason: str | None = None
    error: str | None = None
    annotations: tuple[Annotation, ...] = ()
    failures: tuple[HookFailure, ...] = ()
    asked: tuple[Asked, ...] = ()

    @property
    def warnings(self) -> tuple[HookFailure, ...]:
        """The failures that the run goes on after; each has its `warning` (EXT-12)."""
        return tuple(one for one in self.failures if not one.closed)


def read_answer(extension: str, hook: Hook, outcome: CallOutcome) -> msgspec.Struct | None:
    """Read what a hook answered; what it gave is not trusted to be anything.

    Args:
        extension: Whose hook it is.
        hook: As its manifest declares it.
        outcome: Of its call.

    Returns:
        The answer; None where nothing was said and nothing has to be; or the `HookFailure`.
    """
    if outcome.outcome != "ok":
        code = outcome.code or "extension_error"
        return _failed(
            extension, hook, outcome, code, outcome.reason or f"the call ended as {outcome.outcome}"
        )
    try:
        answer: msgspec.Struct | None = msgspec.convert(outcome.value, ANSWERS[hook.point])
    except (msgspec.ValidationError, RecursionError):
        # The text of the error may quote a key of the extension's making.
        return _failed(
            extension, hook, outcome, "extension_error", f"a bad answer: it does not fit {hook.point}"
        )
    if isinstance(answer, Rewrite):
        if not hook.rewrites:
            return _failed(
                extension, hook, outcome, "extension_error", "a bad answer: it rewrites without `rewrites`"
            )
        if not is_json(answer.arguments):
            return _failed(
                extension, hook, outcome, "extension_error", "a bad answer: its arguments are no JSON"
            )
    return answer


def _failed(extension: str, hook: Hook, outcome: CallOutcome, code: str, reason: str) -> HookFailure:
    return HookFailure(
        extension=extension,
        code=code,
        reason=reason[:MAX_REASON],
        closed=hook.fails_closed,
        call_id=outcome.call_id,
    )


def given_reason(reason: str | None) -> str:
    """The reason that an extension gave, cut to `MAX_REASON` characters; `blocked_by_extension` if it gave none."""
    return reason.strip()[:MAX_REASON] or BLOCKED if reason else BLOCKED


def refusal(point: str, reason: str, *, failed: bool) -> str:
    """How it is told that an act does not happen (EXT-12, NDJ-24, NDJ-35)."""
    match point:
        case "tool_call":
            return f"tool_error: tool_blocked: {reason}"
        case "tool_result":
            return "tool_error: tool_blocked: result_withheld"
        case "session_before_switch" | "session_before_fork":
            return "session_hook_failed" if failed else f"cancelled_by_extension: {reason}"
        case "input" | "before_agent_start" | "run_start" | "turn_start" | "turn_end" | "run_end":
            return "extension_error"
        case _:
            return f"hook_veto: {reason}"


def is_json(value: Any) -> bool:
    """Whether a value that msgpack brought is one of JSON too, and has a canonical form: it can be journalled."""
    if not _is_shaped(value, _DEEPEST):
        return False
    try:
        canonical(value)
    except ValueError:
        return False
    return True


def _is_shaped(value: Any, depth: int) -> bool:
    """Whether there are no bytes in it, no keys but text, and it is not too deep: JSON would write them, and lie."""
    if depth == 0:
        return False
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_shaped(one, depth - 1) for key, one in value.items())
    if isinstance(value, list):
        return all(_is_shaped(one, depth - 1) for one in value)
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and isfinite(value))
