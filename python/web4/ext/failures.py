"""How a handler fails, and what the node is told of it (EXT-4, EXT-13, EXT-43)."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from web4.ext.values import plain, text
from web4.worker.frames import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

MESSAGE_LIMIT: Final = 4096
"""Characters of an error's message."""
TRACEBACK_LIMIT: Final = 8
"""Lines of a traceback, the innermost."""
_SDK: Final = str(Path(__file__).parent)


class DeclarationError(Exception):
    """An extension says of itself what cannot be: raised while it is imported, so it never becomes ready."""


class Failure(Exception):  # noqa: N818 - what a handler raises is its answer, not a mistake of the SDK's
    """Raise it from a handler to fail with a code of your own.

    Args:
        code: A word of yours; the envelope's `reason` begins with it (EXT-27).
        message: A sentence for people.
        retryable: Whether another try may well end differently.
        data: Anything the protocol carries.
        side_effects: False when nothing happened outside; None says nothing, which is taken as true (EXT-19).
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        data: Any = None,
        side_effects: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.code = text(code)
        self.retryable = bool(retryable)
        self.data = data
        self.side_effects = side_effects


class Cancelled(Failure):
    """Raise it from a plain handler that has seen `ctx.cancelled` and stopped. Async ones are cancelled by Trio."""

    def __init__(self, message: str = "it was cancelled", *, side_effects: bool | None = None) -> None:
        super().__init__("cancelled", message, side_effects=side_effects)


class NodeGoneError(BaseException):
    """The socket has ended while a handler asked something of the node. Nobody is left to answer to."""


class NodeBrokenError(NodeGoneError):
    """What the node sent is no frame of the protocol. `str()` says why."""


def error_frame(call_id: str, error: BaseException, side_effects: bool | None = None) -> Error:
    """What the node is told of an exception that left a handler.

    Args:
        call_id: Of the call that failed.
        error: What was raised; `SystemExit` and its like too, which end a call and not the worker.
        side_effects: What the handler had said before it failed.
    """
    if isinstance(error, Failure):
        return Error(
            id=call_id,
            code=error.code,
            message=text(error)[:MESSAGE_LIMIT],
            retryable=error.retryable,
            data=_sendable(error.data),
            side_effects=side_effects if error.side_effects is None else bool(error.side_effects),
        )
    error = _innermost(error)
    if isinstance(error, MemoryError):
        # What the handler held hangs on its frames; there may be no memory for a traceback until they are let go.
        error.__traceback__ = None
        return Error(
            id=call_id, code="memory", message="the memory did not suffice", side_effects=side_effects
        )
    return Error(
        id=call_id,
        code="exception" if isinstance(error, Exception) else "exit",
        message=_sentence(error),
        data={"traceback": list(_lines(error))},
        side_effects=side_effects,
    )


def _sendable(data: Any) -> Any:
    """The data of a failure; if it cannot be sent, why: the failure matters more."""
    try:
        return plain(data)
    except ValueError as error:
        return {"not_sent": text(error)}


def _innermost(error: BaseException) -> BaseException:
    """The one exception in a group of one; a nursery wraps even a single failure."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _sentence(error: BaseException) -> str:
    try:
        said = text(error)
    except Exception:
        said = ""
    name = type(error).__name__
    return f"{name}: {said}"[:MESSAGE_LIMIT] if said else name


def _lines(error: BaseException) -> Iterator[str]:
    yield from _frames(error.__traceback__)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and not isinstance(cause, Failure):
        yield f"because of {_sentence(cause)}"
        yield from _frames(cause.__traceback__)


def _frames(trace: TracebackType | None) -> list[str]:
    """The extension's own frames, innermost last: no value of any variable, no path but its own."""
    own = [
        f"{_short(frame.filename)}:{frame.lineno} in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith(_SDK) and "/trio/" not in frame.filename
    ]
    return own[-TRACEBACK_LIMIT:]


def _short(filename: str) -> str:
    """The file as its author knows it: below the first directory of the path that holds it."""
    for directory in sys.path:
        if directory and filename.startswith(directory + "/"):
            return filename[len(directory) + 1 :]
    return filename.rsplit("/", 1)[-1]
