"""Frames as the node reads them: what an extension may fill as it likes stays unread until it is wanted.

A field that is read in a second step can be refused for itself: a bad value is the tool's failure, not the protocol's.
A frame that is dropped unread costs no memory beyond its bytes. The fields are those of `web4.worker.frames`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from web4.worker.frames import Frame, FrameError, LogLevel, Ping, Pong, Ready, UiMethod

_SHOWN: Final = 200
"""Characters of what is wrong with a frame."""
_NIL: Final = msgspec.Raw(b"\xc0")
_NONE: Final = msgspec.Raw(b"\x80")


class Progress(Frame, tag="progress", frozen=True, kw_only=True):
    """See `frames.Progress`."""

    id: str
    message: str | None = None
    fraction: float | None = None
    data: msgspec.Raw = _NIL


class Result(Frame, tag="result", frozen=True, kw_only=True):
    """See `frames.Result`."""

    id: str
    value: msgspec.Raw
    side_effects: bool | None = None


class Error(Frame, tag="error", frozen=True, kw_only=True):
    """See `frames.Error`."""

    id: str
    code: str
    message: str
    retryable: bool = False
    data: msgspec.Raw = _NIL
    side_effects: bool | None = None


class Emit(Frame, tag="emit", frozen=True, kw_only=True):
    """See `frames.Emit`."""

    id: str
    event_type: str
    payload: msgspec.Raw = _NIL


class Intent(Frame, tag="intent", frozen=True, kw_only=True):
    """See `frames.Intent`."""

    id: str
    intent_id: str
    intent: msgspec.Raw


class UiRequest(Frame, tag="ui_request", frozen=True, kw_only=True):
    """See `frames.UiRequest`."""

    id: str
    request_id: str
    method: UiMethod
    fields: msgspec.Raw = _NONE


class Log(Frame, tag="log", frozen=True, kw_only=True):
    """See `frames.Log`."""

    level: LogLevel
    message: str
    fields: msgspec.Raw = _NONE


OfCall = Progress | Result | Error | Emit | Intent | UiRequest
"""Those that belong to one call."""
OfNone = Ready | Log | Ping | Pong
Arriving = OfCall | OfNone


def _refuse(code: int, _data: memoryview) -> Any:
    raise ValueError(f"extension type {code}")


_DECODER: Final = msgspec.msgpack.Decoder(Arriving, ext_hook=_refuse)


def decode(body: bytes | bytearray | memoryview) -> Arriving:
    """Read what a worker sent, its length taken off.

    Raises:
        FrameError: It is no frame that a worker may send. Free-form fields are not looked into.
    """
    try:
        return _DECODER.decode(body)  # type: ignore[no-any-return]
    except (ValueError, RecursionError) as error:
        raise FrameError(str(error)[:_SHOWN]) from None  # it may quote what came
