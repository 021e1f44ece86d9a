"""The worker protocol, version 1: maps of msgpack behind a length (EXT-14, EXT-15).

Both sides use these types, so neither can drift. Reading is sans-I/O: bytes go in, whole frames come out.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Literal

import msgspec

PROTOCOL: Final = 1
MAX_FRAME: Final = 4 * 1024 * 1024
"""Bytes of one frame, its length field aside (EXT-14)."""
HEADER: Final = 4

CallKind = Literal["tool", "command", "hook", "workload", "service", "rule"]
KINDS: Final[tuple[CallKind, ...]] = ("tool", "command", "hook", "workload", "service", "rule")
UiMethod = Literal["select", "confirm", "input", "editor", "interview", "notify"]
UiOutcome = Literal["answered", "cancelled", "timed_out", "refused"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Frame(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="t", gc=False):
    """Base of all frames. Unknown keys are ignored, an unknown `t` is a violation (EXT-15)."""


class CallContext(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a call knows of where it comes from: ids, never contents (EXT-16)."""

    session: str | None = None
    run: str | None = None
    turn: str | None = None
    step: str | None = None
    call: str | None = None
    workspace: str | None = None
    locale: str | None = None


# --- to the worker --------------------------------------------------------------------------------------------


class Hello(Frame, tag="hello", frozen=True, kw_only=True):
    """The first frame: who the worker is. `limits` names those in force, in the units of the manifest."""

    protocol: int
    extension: str
    version: str
    worker_id: str
    generation: int
    config: dict[str, Any] = {}
    limits: dict[str, int] = {}
    tmp: str = ""


class Call(Frame, tag="call", frozen=True, kw_only=True):
    """Do this. `deadline_ms` is what is left when it is sent, in milliseconds."""

    id: str
    kind: CallKind
    name: str
    arguments: Any
    deadline_ms: int
    idempotency_key: str | None = None
    context: CallContext = CallContext()


class Cancel(Frame, tag="cancel", frozen=True, kw_only=True):
    """Stop working on `id` and answer (EXT-19)."""

    id: str
    reason: str


class IntentAnswer(Frame, tag="intent_answer", frozen=True, kw_only=True):
    """What the node decided about an intent of a workload (TURN-20)."""

    id: str
    intent_id: str
    ok: bool
    error: str | None = None


class UiAnswer(Frame, tag="ui_answer", frozen=True, kw_only=True):
    """What a person answered, or why nobody did (EXT-18)."""

    request_id: str
    outcome: UiOutcome
    value: Any = None


class Drain(Frame, tag="drain", frozen=True, kw_only=True):
    """Finish the calls that are open, take no more, end."""


# --- both ways ------------------------------------------------------------------------------------------------


class Ping(Frame, tag="ping", frozen=True, kw_only=True):
    """Are you there?"""

    nonce: int


class Pong(Frame, tag="pong", frozen=True, kw_only=True):
    """I am; the nonce of the ping."""

    nonce: int


# --- to the node ----------------------------------------------------------------------------------------------


class Ready(Frame, tag="ready", frozen=True, kw_only=True):
    """The worker takes calls. The names must be the manifest's, in any order (EXT-15)."""

    protocol: int
    sdk: str
    tools: list[str] = []
    commands: list[str] = []
    hooks: list[str] = []


class Progress(Frame, tag="progress", frozen=True, kw_only=True):
    """How far a call has come; `fraction` from 0 to 1."""

    id: str
    message: str | None = None
    fraction: float | None = None
    data: Any = None


class Result(Frame, tag="result", frozen=True, kw_only=True):
    """A call's value. Only `side_effects: false` says that nothing happened outside (EXT-19)."""

    id: str
    value: Any
    side_effects: bool | None = None


class Error(Frame, tag="error", frozen=True, kw_only=True):
    """A call failed, by the extension's own account."""

    id: str
    code: str
    message: str
    retryable: bool = False
    data: Any = None
    side_effects: bool | None = None


class Emit(Frame, tag="emit", frozen=True, kw_only=True):
    """An event of a workload's turn (TURN-20)."""

    id: str
    event_type: str
    payload: Any = None


class Intent(Frame, tag="intent", frozen=True, kw_only=True):
    """A workload wants something of the node (TURN-20)."""

    id: str
    intent_id: str
    intent: Any


class UiRequest(Frame, tag="ui_request", frozen=True, kw_only=True):
    """Ask the person (EXT-18); `fields` by the method."""

    id: str
    request_id: str
    method: UiMethod
    fields: dict[str, Any] = {}


class Log(Frame, tag="log", frozen=True, kw_only=True):
    """A line for the extension's log."""

    level: LogLevel
    message: str
    fields: dict[str, Any] = {}


ToWorker = Hello | Call | Cancel | IntentAnswer | UiAnswer | Drain | Ping | Pong
ToNode = Ready | Progress | Result | Error | Emit | Intent | UiRequest | Log | Ping | Pong


class FrameError(Exception):
    """What came is no frame of this protocol. `str()` says why, without contents."""


def _refuse(code: int, _data: memoryview) -> Any:
    raise ValueError(f"extension type {code}")


_ENCODER: Final = msgspec.msgpack.Encoder()
_TO_WORKER: Final = msgspec.msgpack.Decoder(ToWorker, ext_hook=_refuse)
_TO_NODE: Final = msgspec.msgpack.Decoder(ToNode, ext_hook=_refuse)
_LENGTH: Final = struct.Struct(">I")  # half the time of int.from_bytes


def encode(frame: Frame, *, limit: int = MAX_FRAME) -> bytearray:
    """Write one frame, its length before it.

    Raises:
        FrameError: It is longer than `limit` bytes, or holds what msgpack cannot say.
    """
    buffer = bytearray(HEADER)
    try:
        _ENCODER.encode_into(frame, buffer, HEADER)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FrameError(f"it cannot be written: {error}") from None
    length = len(buffer) - HEADER
    if length > limit:
        raise FrameError(f"{length} bytes are more than the {limit} of a frame")
    _LENGTH.pack_into(buffer, 0, length)
    return buffer


def length_of(buffer: bytes | bytearray | memoryview, start: int = 0) -> int:
    """The length that stands at `start`: of the body that follows it."""
    length: int = _LENGTH.unpack_from(buffer, start)[0]
    return length


def decode_to_node(body: bytes | bytearray | memoryview) -> ToNode:
    """Read what a worker sent, the length taken off.

    Raises:
        FrameError: It is no frame that a worker may send.
    """
    return _decode(_TO_NODE, body)  # type: ignore[no-any-return]


def decode_to_worker(body: bytes | bytearray | memoryview) -> ToWorker:
    """Read what a node sent, the length taken off.

    Raises:
        FrameError: It is no frame that a node may send.
    """
    return _decode(_TO_WORKER, body)  # type: ignore[no-any-return]


def _decode(decoder: msgspec.msgpack.Decoder[Any], body: bytes | bytearray | memoryview) -> Any:
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, bad UTF-8 is one
        raise FrameError(str(error)) from None


class FrameReader:
    """Cuts a stream of bytes into frames. Holds at most one frame and what came behind it.

    Args:
        limit: Bytes of one frame; a longer one is refused when its length is read, before its body is.
    """

    __slots__ = ("_buffer", "_limit", "_start")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._start = 0

    def __len__(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what was read."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next(self) -> bytes | None:
        """The body of the next whole frame; None until more is fed.

        Raises:
            FrameError: The next frame is longer than the limit, or empty.
        """
        start, buffer = self._start, self._buffer
        if len(buffer) - start < HEADER:
            return None
        length = length_of(buffer, start)
        if not 0 < length <= self._limit:
            raise FrameError(f"a frame of {length} bytes; the limit is {self._limit}")
        end = start + HEADER + length
        if len(buffer) < end:
            return None
        self._start = end
        return bytes(buffer[start + HEADER : end])
