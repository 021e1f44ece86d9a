"""Lines of NDJSON v1: what they hold, and how they are read and written (NDJ-11 to NDJ-17)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from web4.doors.control.errors import CommandRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "1"
LINE_BYTES: Final = 8 * 1024 * 1024
MAX_ID: Final = 256
_ENCODER: Final = msgspec.json.Encoder()
"""In the order in which keys are given (NDJ-12)."""


class Command(msgspec.Struct, frozen=True):
    """A command as it came."""

    id: str
    type: str
    payload: dict[str, Any]
    meta: dict[str, Any]


class BadLine(Exception):  # noqa: N818 - it is caught where lines are read, and becomes a response
    """A line that is no command; `command_id` is its id if it has a readable one."""

    def __init__(self, message: str, command_id: str = "", code: str = "invalid_command") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.command_id = command_id


def read_command(line: bytes) -> Command:
    """Decode a command line.

    Raises:
        BadLine: In the words of NDJ-16.
    """
    try:
        document = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadLine(f"invalid_json: {error}") from None
    if not isinstance(document, dict):
        raise BadLine("invalid_json: a command is an object")
    identifier = document.get("id")
    command_id = identifier if isinstance(identifier, str) and len(identifier) <= MAX_ID else ""
    version = document.get("v", VERSION)
    if version != VERSION:
        raise BadLine(f"invalid_version: expected {VERSION}, got {_short(version)}", command_id)
    if not isinstance(identifier, str) or not identifier:
        raise BadLine("missing_id", command_id)
    kind = document.get("type")
    if not isinstance(kind, str) or not kind:
        raise BadLine("missing_type", command_id)
    payload, meta = document.get("payload", {}), document.get("meta", {})
    for name, value in (("payload", payload), ("meta", meta)):
        if not isinstance(value, dict):
            raise BadLine(f"{name} must be an object", command_id, "invalid_payload")
    return Command(identifier, kind, payload, meta)


def write_command(command_id: str, kind: str, payload: Mapping[str, Any]) -> bytes:
    """Write a command as a line."""
    return _ENCODER.encode({"v": VERSION, "id": command_id, "type": kind, "payload": payload}) + b"\n"


def write_response(command_id: str, kind: str, payload: Mapping[str, Any], *, ts: str) -> bytes:
    """Write a response that says yes, as a line."""
    document = {"v": VERSION, "id": command_id, "type": kind, "payload": payload, "ok": True, "ts": ts}
    line: bytes = _ENCODER.encode(document) + b"\n"
    if len(line) > LINE_BYTES:
        return write_failure(command_id, "command_rejected", "response_too_large", None, ts=ts)
    return line


def write_failure(command_id: str, code: str, message: str, cause: str | None, *, ts: str) -> bytes:
    """Write a response that says no, as a line."""
    error = {"code": code, "message": message}
    if cause:
        error["cause"] = cause
    document = {
        "v": VERSION, "id": command_id, "type": "error", "payload": {}, "ok": False, "error": error, "ts": ts,
    }  # fmt: skip
    return _ENCODER.encode(document) + b"\n"


def refused(message: str, *, code: str = "invalid_payload", field: str | None = None) -> CommandRefused:
    """A refusal for a handler to raise."""
    return CommandRefused(message, code=code, field=field)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 64 else text[:61] + "..."
