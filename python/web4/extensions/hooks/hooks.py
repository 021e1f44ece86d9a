"""Hooks, one after another: what each may change, and what happens when one fails (EXT-10 to EXT-12)."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

import msgspec

from web4.ext.hooks import (
    LOOP_POINTS,
    QUESTIONS,
    Allow,
    Annotate,
    Block,
    Cancel,
    Handled,
    ReplaceResult,
    ReplaceText,
    Rewrite,
    ToolCall,
    ToolResult,
    Veto,
)
from web4.extensions.errors import CallError
from web4.extensions.hooks.hook_answers import (
    HOOK_FAILED,
    UNSETTLED,
    Annotation,
    Asked,
    HookFailure,
    HookVerdict,
    given_reason,
    read_answer,
    refusal,
)
from web4.worker.frames import CallContext

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.extensions.manifests.manifest import Hook, Manifest
    from web4.extensions.outcome import CallOutcome

_NOWHERE: Final = CallContext()


class CallHook(Protocol):
    """How a chain calls an extension: its limit, its worker and its quarantine are the callee's."""

    async def __call__(
        self,
        extension: str,
        kind: Literal["hook"],
        name: str,
        arguments: dict[str, Any],
        context: CallContext,
    ) -> CallOutcome:
        """Call the hook of `extension` at the point `name`; how that ended (EXT-26).

        Cancellation: the hook's call is cancelled as any other (EXT-19).

        Raises:
            CallError: Nothing was called.
        """
        ...


class _Link(NamedTuple):
    """A hook of an extension."""

    extension: str
    hook: Hook

    def concerns(self, question: msgspec.Struct) -> bool:
        """Whether its patterns let it be asked: any tail of a tool's dotted name may match, `search` or `notes.search`.

        To be asked too often costs a call; to be left out because a model used the long name would cost the guard.
        """
        if not self.hook.tools or not isinstance(question, ToolCall | ToolResult):
            return True
        parts = question.tool.split(".")
        names = [".".join(parts[start:]) for start in range(len(parts))]
        return any(fnmatchcase(name, pattern) for pattern in self.hook.tools for name in names)


class HookChain:
    """The hooks of the extensions of one generation, asked by the node at fixed points.

    Hooks of a point are asked one after another by (`order`, name of the extension); each sees what the one before it
    made of the question. Nothing here knows time: a hook's limit is the callee's.

    Args:
        extensions: The manifests of those that are enabled.
        call: Calls a hook.

    Raises:
        ValueError: A point that there is not, or two hooks of one extension at one point: a call could not name them.
    """

    def __init__(self, extensions: Iterable[Manifest], call: CallHook) -> None:
        self._call = call
        links: dict[str, list[_Link]] = {}
        for manifest in extensions:
            for hook in manifest.hooks:
                if hook.point not in QUESTIONS:
                    raise ValueError(f"{manifest.name}: there is no hook point {hook.point!r}")
                if any(one.extension == manifest.name for one in links.get(hook.point, ())):
                    raise ValueError(f"{manifest.name}: two hooks at {hook.point}")
                links.setdefault(hook.point, []).append(_Link(manifest.name, hook))
        self._links = {
            point: tuple(sorted(those, key=lambda one: (one.hook.order, one.extension)))
            for point, those in links.items()
        }

    def at(self, point: str) -> list[str]:
        """The extensions that are asked at a point, in order."""
        return [one.extension for one in self._links.get(point, ())]

    async def ask(
        self, point: str, question: msgspec.Struct, context: CallContext = _NOWHERE, *, again: bool = False
    ) -> HookVerdict:
        """Ask the hooks of a point; what they came to. What a worker does wrong is data (EXT-4).

        Cancellation: passes on to the hook that is being asked; the others are not asked, and there is no verdict.

        Args:
            point: One of `QUESTIONS`.
            question: Of that point's type.
            context: Where the question comes from.
            again: Whether these are rewritten arguments that come by once more: a hook that wants still others then
                blocks the call (`rewrite_not_settled`), so that two of them cannot go on for ever.

        Raises:
            ValueError: There is no such point.
            TypeError: The question is not that point's.
        """
        known = QUESTIONS.get(point)
        if known is None:
            raise ValueError(f"there is no hook point {point!r}")
        if type(question) is not known:
            raise TypeError(f"{point} is asked with a {known.__name__}")
        asking = _Asking(point, question, again=again)
        for link in self._links.get(point, ()):
            if link.concerns(asking.question):
                await self._ask_one(asking, link, context)
                if asking.over:
                    break
        return asking.verdict()

    async def _ask_one(self, asking: _Asking, link: _Link, context: CallContext) -> None:
        extension, hook = link
        try:
            outcome = await self._call(extension, "hook", asking.point, asking.payload(), context)
        except CallError as error:
            asking.asked.append(Asked(extension=extension, code=error.code))
            asking.fail(
                HookFailure(extension=extension, code=error.code, reason=str(error), closed=hook.fails_closed)
            )
            return
        answer = read_answer(extension, hook, outcome)
        asked = Asked(extension=extension, call_id=outcome.call_id, elapsed_ms=outcome.elapsed_ms)
        if isinstance(answer, HookFailure):
            asking.asked.append(msgspec.structs.replace(asked, code=answer.code))
            asking.fail(answer)
        elif answer is None:
            asking.asked.append(asked)
        else:
            action = str(answer.__struct_config__.tag)
            asking.asked.append(msgspec.structs.replace(asked, action=action))
            asking.take(extension, answer)


class _Asking:
    """One walk through a chain."""

    def __init__(self, point: str, question: msgspec.Struct, *, again: bool) -> None:
        self.point = point
        self.question = question
        self.over = False
        self.asked: list[Asked] = []
        self._again = again
        self._rewritten = False
        self._handled: str | None = None
        self._stopped_by: str | None = None
        self._reason: str | None = None
        self._error: str | None = None
        self._annotations: list[Annotation] = []
        self._failures: list[HookFailure] = []

    def payload(self) -> dict[str, Any]:
        """The question as the next hook gets it: with what the hooks before made of it."""
        payload = msgspec.structs.asdict(self.question)
        if self.point in LOOP_POINTS:
            payload["annotations"] = [one.annotation for one in self._annotations]
        return payload

    def fail(self, failure: HookFailure) -> None:
        """A hook failed: its mode says what that means (EXT-12)."""
        self._failures.append(failure)
        if not failure.closed:
            return
        self._stop(failure.extension, HOOK_FAILED, failed=True)
        if isinstance(self.question, ToolResult):
            self.question = msgspec.structs.replace(self.question, result=None)

    def take(self, extension: str, answer: msgspec.Struct) -> None:
        """A hook answered."""
        match answer:
            case Block() | Cancel() | Veto():
                self._stop(extension, given_reason(answer.reason), failed=False)
            case Rewrite():
                self._rewrite(extension, answer.arguments)
            case ReplaceText():
                self.question = msgspec.structs.replace(self.question, text=answer.text)
            case Handled():
                self._handled, self._stopped_by, self.over = answer.text, extension, True
            case ReplaceResult():
                self.question = msgspec.structs.replace(self.question, result=answer.result)
            case Annotate():
                self._annotations.append(Annotation(extension=extension, annotation=answer.annotation))
            case Allow():
                pass

    def _rewrite(self, extension: str, arguments: dict[str, Any]) -> None:
        assert isinstance(self.question, ToolCall)
        if _same(arguments, self.question.arguments):
            return
        if self._again:
            self._stop(extension, UNSETTLED, failed=False)
            return
        self._rewritten = True
        self.question = msgspec.structs.replace(self.question, arguments=arguments)

    def _stop(self, extension: str, reason: str, *, failed: bool) -> None:
        self.over, self._stopped_by, self._reason = True, extension, reason
        self._error = refusal(self.point, reason, failed=failed)

    def verdict(self) -> HookVerdict:
        """What it came to."""
        return HookVerdict(
            point=self.point,
            proceeds=self._error is None,
            question=self.question,
            rewritten=self._rewritten,
            handled=self._handled,
            stopped_by=self._stopped_by,
            reason=self._reason,
            error=self._error,
            annotations=tuple(self._annotations),
            failures=tuple(self._failures),
            asked=tuple(self.asked),
        )


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two arguments are the same, as JSON tells values apart: `true` is not 1."""
    return _ORDERED.encode(one) == _ORDERED.encode(other)


_ORDERED: Final = msgspec.json.Encoder(order="deterministic")
