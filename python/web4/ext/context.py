"""What a handler is given of the node: its call, and a few things to say and ask. Nothing else (EXT-16, EXT-43)."""

from __future__ import annotations

import importlib
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, get_args

import msgspec

from web4.ext.failures import Cancelled
from web4.ext.values import plain, text
from web4.worker.frames import (
    Emit,
    FrameError,
    Intent,
    IntentAnswer,
    Log,
    LogLevel,
    Progress,
    UiAnswer,
    UiMethod,
    UiOutcome,
    UiRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from web4.ext.connection import Connection
    from web4.worker.frames import Call, CallContext, Frame, Hello

Value = TypeVar("Value")
Answer = TypeVar("Answer", bound="Reply | Decision")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a question to a person. True when it was answered, and not with no.

    Args:
        outcome: `answered`, `cancelled`, `timed_out` or `refused` (CMD-23).
        value: What was answered: a bool to `confirm`, text to `select` and `input`; None unless it was answered.
    """

    outcome: UiOutcome
    value: Any = None

    def __bool__(self) -> bool:
        return self.outcome == "answered" and self.value is not False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the node decided about an intent (TURN-20). True when it was accepted."""

    ok: bool
    error: str | None = None

    def __bool__(self) -> bool:
        return self.ok


class Said(Awaitable[None]):
    """What `progress`, `log` and `emit` return. It is done already; awaiting it lets Trio look round."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        # By name: a worker whose handlers are all plain never imports Trio, and never comes here.
        yield from importlib.import_module("trio").lowlevel.checkpoint().__await__()


_SAID: Final = Said()
_LEVELS: Final = get_args(LogLevel)


class Question(Awaitable[Answer], Generic[Answer]):
    """What a question returns: `await` it, or call `wait()` in a plain handler. The question is out already."""

    __slots__ = ("_asked", "_connection", "_context", "_read")

    def __init__(self, context: Context, asked: str, read: Callable[[Any], Answer]) -> None:
        self._context = context
        self._connection = context._connection  # noqa: SLF001 - a context and its questions are one thing
        self._asked = asked
        self._read = read

    def wait(self) -> Answer:
        """Block until there is an answer.

        Raises:
            Cancelled: The call was cancelled meanwhile.
            RuntimeError: In an async handler, which must not block, or in another thread than the handler's.
        """
        if not self._context.is_plain:
            raise RuntimeError("await it: an async handler must not block")
        answer = self._connection.wait_for(self._asked, self._context.call_id)
        if answer is None:
            raise Cancelled
        return self._read(answer)

    def __await__(self) -> Generator[Any, Any, Answer]:
        wait = importlib.import_module("web4.ext.serving_async").wait_for
        return self._read((yield from wait(self._connection, self._asked).__await__()))


class Context:
    """One call, as its handler sees it.

    `progress`, `log` and `emit` send at once, whether or not what they return is awaited, so plain functions use them
    too. They raise ValueError for what the protocol cannot carry.
    """

    __slots__ = ("_call", "_connection", "_deadline", "is_plain", "side_effects")

    def __init__(self, connection: Connection, call: Call, *, is_plain: bool) -> None:
        self._connection = connection
        self._call = call
        self._deadline = time.monotonic() + call.deadline_ms / 1000
        self.is_plain = is_plain
        self.side_effects: bool | None = None
        """Set it to False before you return or raise, when nothing happened outside. Silence means that it may
        have (EXT-19)."""

    # --- what the call is -------------------------------------------------------------------------------------

    @property
    def call_id(self) -> str:
        """The call's id, unique in this worker."""
        return self._call.id

    @property
    def ids(self) -> CallContext:
        """Where the call comes from: session, run, turn, step, call; workspace and locale where they are granted."""
        return self._call.context

    @property
    def idempotency_key(self) -> str | None:
        """The same for every try of the same thing (EXT-23)."""
        return self._call.idempotency_key

    @property
    def config(self) -> dict[str, Any]:
        """What the node's operator configured for the extension."""
        return self._hello.config

    @property
    def tmp(self) -> str:
        """A directory of the worker's own; it is gone when the worker is."""
        return self._hello.tmp

    @property
    def limits(self) -> dict[str, int]:
        """What the worker is held to, in the units of the manifest."""
        return self._hello.limits

    @property
    def deadline(self) -> float:
        """When the worker is killed unless the call is answered, on the clock of `time.monotonic()`, in seconds."""
        return self._deadline

    @property
    def cancelled(self) -> bool:
        """Whether the call is to stop. A plain handler that works long looks here now and then, and raises `Cancelled`.

        An async handler need not look: it is cancelled where it awaits.
        """
        connection, call_id = self._connection, self._call.id
        if self.is_plain and call_id in connection.open and call_id not in connection.cancelled:
            connection.poll()
        return call_id in connection.cancelled

    @property
    def _hello(self) -> Hello:
        hello = self._connection.hello
        assert hello is not None
        return hello

    # --- what it says -----------------------------------------------------------------------------------------

    def progress(
        self, message: str | None = None, *, fraction: float | None = None, data: Any = None
    ) -> Awaitable[None]:
        """Tell how far the call has come. The node passes on at most 20 a second, the latest (EXT-17).

        Args:
            message: A few words.
            fraction: From 0 to 1; what lies outside is moved to the nearer end.
            data: For a program that watches.
        """
        if fraction is not None:
            fraction = min(1.0, max(0.0, float(fraction)))
        said = None if message is None else text(message)
        return self._say_of_call(
            Progress(id=self._call.id, message=said, fraction=fraction, data=plain(data))
        )

    def log(self, message: str, *, level: LogLevel = "info", **fields: Any) -> Awaitable[None]:
        """Write a line to the extension's log; `print` does so too, without a level."""
        if level not in _LEVELS:
            raise ValueError(f"{level!r} is no level of a log; there are {', '.join(_LEVELS)}")
        return self._say(Log(level=level, message=text(message), fields=plain(fields)))

    def emit(self, event_type: str, payload: Any = None) -> Awaitable[None]:
        """An event of the turn, in a workload (TURN-20). Blocks while the node is slower."""
        return self._say_of_call(Emit(id=self._call.id, event_type=text(event_type), payload=plain(payload)))

    def _say_of_call(self, frame: Frame) -> Awaitable[None]:
        # A thread that the handler left behind may speak on; nobody listens any more, and the node counts it.
        if self._call.id in self._connection.open:
            return self._say(frame)
        return _SAID

    def _say(self, frame: Frame) -> Awaitable[None]:
        try:
            self._connection.send(frame)
        except FrameError as error:
            raise ValueError(str(error)) from None
        return _SAID

    # --- what it asks -----------------------------------------------------------------------------------------

    def confirm(self, title: str, message: str = "", *, timeout_ms: int | None = None) -> Question[Reply]:
        """Ask a person yes or no. Needs `ui = true` in the manifest. An answer is never an approval (EXT-18).

        Args:
            title: What is asked, shown as it stands, with the extension's name.
            message: More about it.
            timeout_ms: How long to wait; the node's own limit stands above it.
        """
        return self._ask("confirm", {"title": title, "message": message}, timeout_ms)

    def select(self, title: str, options: Sequence[str], *, timeout_ms: int | None = None) -> Question[Reply]:
        """Let a person choose one of `options`; for the rest see `confirm`."""
        return self._ask("select", {"title": title, "options": list(options)}, timeout_ms)

    def input(
        self, title: str, *, placeholder: str | None = None, timeout_ms: int | None = None
    ) -> Question[Reply]:
        """Let a person write a line; for the rest see `confirm`."""
        fields: dict[str, Any] = {"title": title}
        if placeholder is not None:
            fields["placeholder"] = placeholder
        return self._ask("input", fields, timeout_ms)

    def intent(self, intent: Any) -> Question[Decision]:
        """Ask the node to make something true when the turn is committed, in a workload (TURN-20)."""
        asked = self._connection.number()
        self._put(asked, Intent(id=self._call.id, intent_id=asked, intent=plain(intent)))
        return Question(self, asked, _decision)

    def _ask(self, method: UiMethod, fields: dict[str, Any], timeout_ms: int | None) -> Question[Reply]:
        if timeout_ms is not None:
            fields["timeout"] = timeout_ms
        asked = self._connection.number()
        self._put(asked, UiRequest(id=self._call.id, request_id=asked, method=method, fields=plain(fields)))
        return Question(self, asked, _reply)

    def _put(self, asked: str, frame: Frame) -> None:
        if self._call.id not in self._connection.open:
            raise RuntimeError("the call has ended")
        try:
            self._connection.ask(self._call.id, asked, frame)
        except FrameError as error:
            raise ValueError(str(error)) from None


def _reply(answer: UiAnswer) -> Reply:
    return Reply(outcome=answer.outcome, value=answer.value if answer.outcome == "answered" else None)


def _decision(answer: IntentAnswer) -> Decision:
    return Decision(ok=answer.ok, error=answer.error)
