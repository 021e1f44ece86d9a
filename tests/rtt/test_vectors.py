"""An independent decoder of RTT's wire format, written from docs/reference/rtt-wire.md alone (RTT-14).

It shares no code with the native core and does not import `web4`: when it reads every vector as the vectors say,
the page says what the core does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors" / "rtt"

OPENING_TYPES = {1: "START", 2: "STARTED", 3: "RESUME", 4: "RESUMED", 5: "CONFIRM", 6: "REFUSED"}
NUMBERED_TYPES = {0x10: "OPEN", 0x11: "DATA", 0x12: "END", 0x13: "RESET", 0x14: "SHUTDOWN"}
PLAIN_TYPES = {0x20: "CREDIT", 0x21: "ACK", 0x22: "PING", 0x23: "PONG", 0x24: "CLOSE"}
OPTIONAL_TYPES = range(0x40, 0x80)
NUMBERED, FIRST, LAST = 0x80, 0x01, 0x02
FRAME_PAYLOAD = 16384


class RefusedError(Exception):
    """The input is a violation; the argument is the word of its code."""


class Fields:
    """Takes fields off the front of a body."""

    def __init__(self, body: bytes) -> None:
        self.rest = body

    def octets(self, count: int) -> bytes:
        if len(self.rest) < count:
            raise RefusedError("malformed")
        head, self.rest = self.rest[:count], self.rest[count:]
        return head

    def number(self, width: int, least: int = 0, most: int | None = None) -> int:
        value = int.from_bytes(self.octets(width), "big")
        if value < least or (most is not None and value > most):
            raise RefusedError("malformed")
        return value

    def remainder(self) -> bytes:
        return self.octets(len(self.rest))


def decode(data: bytes, phase: str) -> tuple[str, dict[str, Any], bytes]:
    """Decode the frame at the front: its name, its fields, and what is behind it."""
    header = Fields(data)
    kind, flags, length = header.number(1), header.number(1), header.number(4)
    name = judge_header(kind, flags, length, phase)
    body = Fields(header.octets(length))
    fields: dict[str, Any] = {}
    if flags & NUMBERED:
        fields["seq"] = body.number(8, least=1)
    if name == "optional":
        fields |= {"type": kind, "content": body.remainder().hex()}
    elif phase == "opening":
        fields |= opening_fields(name, body)
    else:
        fields |= session_fields(name, flags, body)
    if body.rest:
        raise RefusedError("malformed")
    return name, fields, header.rest


def judge_header(kind: int, flags: int, length: int, phase: str) -> str:
    ours, others = OPENING_TYPES, NUMBERED_TYPES | PLAIN_TYPES
    if phase == "session":
        ours, others = others, ours
    if kind in others:
        raise RefusedError("out_of_state")
    optional = phase == "session" and kind in OPTIONAL_TYPES
    if kind not in ours and not optional:
        raise RefusedError("unknown_frame")
    may = NUMBERED if optional or kind in NUMBERED_TYPES else 0
    must = NUMBERED if kind in NUMBERED_TYPES else 0
    if kind == 0x11:
        may |= FIRST | LAST
    if flags & ~may or flags & must != must:
        raise RefusedError("unknown_flag")
    most = 8192 if phase == "opening" else 1024
    if kind == 0x11:
        most = FRAME_PAYLOAD + 16
    elif optional:
        most = FRAME_PAYLOAD
    if length > most:
        raise RefusedError("frame_too_large")
    return "optional" if optional else ours[kind]


def session_fields(name: str, flags: int, body: Fields) -> dict[str, Any]:
    def channel_name() -> str:
        text = body.remainder()
        if not 1 <= len(text) <= 64 or not all(0x20 <= octet <= 0x7E for octet in text):
            raise RefusedError("malformed")
        return text.decode("ascii")

    def reason() -> str:
        text = body.remainder()
        try:
            if len(text) <= 256:
                return text.decode("utf-8", errors="strict")
        except UnicodeDecodeError:
            pass
        raise RefusedError("malformed")

    read = {
        "channel": lambda: body.number(4),
        "kind": lambda: body.number(1),
        "credit_messages": lambda: body.number(4),
        "credit_bytes": lambda: body.number(4),
        "max_message": lambda: body.number(4),
        "name": channel_name,
        "first": lambda: bool(flags & FIRST),
        "last": lambda: bool(flags & LAST),
        "total": lambda: body.number(4),
        "payload": lambda: body.remainder().hex(),
        "code": lambda: body.number(2),
        "messages": lambda: body.number(8),
        "bytes": lambda: body.number(8),
        "cursor": lambda: body.number(8),
        "token": lambda: body.octets(8).hex(),
        "reason": reason,
    }
    order = {
        "OPEN": ["channel", "kind", "credit_messages", "credit_bytes", "max_message", "name"],
        "DATA": ["channel", "first", "last", *(["total"] if flags & FIRST else []), "payload"],
        "END": ["channel"],
        "RESET": ["channel", "code"],
        "SHUTDOWN": ["code"],
        "CREDIT": ["channel", "messages", "bytes"],
        "ACK": ["cursor"],
        "PING": ["token"],
        "PONG": ["token"],
        "CLOSE": ["code", "reason"],
    }
    return {field: read[field]() for field in order[name]}


def opening_fields(name: str, body: Fields) -> dict[str, Any]:
    def versions() -> list[int]:
        return [body.number(1) for _ in range(body.number(1, least=1, most=16))]

    def one_kind() -> dict[str, int]:
        largest = body.number(4, least=1, most=64 * 1024 * 1024)
        return {
            "max_message": largest,
            "messages": body.number(4, least=1),
            "bytes": body.number(4, least=largest),
        }

    def limits() -> dict[str, Any]:
        payload, channels = body.number(4, least=4096, most=65536), body.number(4, least=1, most=65536)
        return {"frame_payload": payload, "channels": channels, "kinds": [one_kind() for _ in range(3)]}

    def extensions() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(body.number(1, most=16)):
            number, critical = body.number(2), body.number(1, most=1)
            if any(number == other["id"] for other in found):
                raise RefusedError("malformed")
            content = body.octets(body.number(2)).hex()
            found.append({"id": number, "critical": bool(critical), "content": content})
        return found

    read = {
        "versions": versions,
        "version": lambda: body.number(1),
        "boot_id": lambda: body.octets(16).hex(),
        "session_id": lambda: body.octets(16).hex(),
        "ticket": lambda: body.octets(32).hex(),
        "limits": limits,
        "resume_window_ms": lambda: body.number(4),
        "retry_after_ms": lambda: body.number(4),
        "epoch": lambda: body.number(4),
        "cursor": lambda: body.number(8),
        "code": lambda: body.number(2),
        "extensions": extensions,
    }
    order = {
        "START": ["versions", "boot_id", "limits", "resume_window_ms", "extensions"],
        "STARTED": ["version", "session_id", "boot_id", "ticket", "limits", "resume_window_ms", "extensions"],
        "RESUME": ["versions", "session_id", "boot_id", "ticket", "epoch", "cursor", "extensions"],
        "RESUMED": ["version", "boot_id", "epoch", "cursor", "ticket", "extensions"],
        "CONFIRM": ["session_id", "epoch"],
        "REFUSED": ["code", "boot_id", "retry_after_ms"],
    }
    return {field: read[field]() for field in order[name]}


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / f"{name}.json").read_bytes())["vectors"]
    assert loaded
    return loaded


@pytest.mark.parametrize("phase", ["session", "opening"])
def test_rtt_frame_vectors(phase: str) -> None:
    """RTT-14: every frame of the vectors decodes to the fields they tell, and no cut of it decodes at all."""
    seen = set()
    for vector in vectors(f"{phase}_frames"):
        data = bytes.fromhex(vector["hex"])
        name, fields, rest = decode(data, phase)
        assert (name, fields, rest) == (vector["frame"], vector["fields"], b""), vector["name"]
        seen.add(name)
        for end in range(len(data)):
            with pytest.raises(RefusedError):
                decode(data[:end], phase)
    every = OPENING_TYPES if phase == "opening" else NUMBERED_TYPES | PLAIN_TYPES | {0x40: "optional"}
    assert seen == set(every.values())


def test_rtt_frame_vectors_refused() -> None:
    """RTT-16, RTT-17: every negative vector is refused, with the code it names."""
    for vector in vectors("refused_frames"):
        with pytest.raises(RefusedError) as refused:
            decode(bytes.fromhex(vector["hex"]), vector["phase"])
        assert refused.value.args == (vector["word"],), vector["name"]


def test_rtt_frame_vectors_transcript() -> None:
    """RTT-15: a whole exchange, from the version byte on."""
    message = b""
    for vector in vectors("transcript"):
        data = bytes.fromhex(vector["hex"])
        assert data[0] == 0x01
        data, names = data[1:], []
        while data:
            phase = "opening" if data[0] in OPENING_TYPES else "session"
            name, fields, data = decode(data, phase)
            names.append(name)
            message += bytes.fromhex(fields.get("payload", ""))
        assert names == vector["frames"]
    assert message == b"hello"


def carried(vector: dict[str, Any]) -> list[tuple[str, dict[str, Any], bytes]]:
    """The frames of one side on one carrier: names, fields, and the bytes of each."""
    data, frames = bytes.fromhex(vector["hex"]), []
    if vector["carrier"] > 0:
        assert data[0] == 0x01
        data = data[1:]
    while data:
        name, fields, rest = decode(data, "opening" if data[0] in OPENING_TYPES else "session")
        frames.append((name, fields, data[: len(data) - len(rest)]))
        data = rest
    assert [name for name, _, _ in frames] == vector["frames"]
    return frames


def test_rtt_frame_vectors_resume() -> None:
    """RTT-30 to RTT-32: a cut and a resume read as the page says: cursors, what is sent again, credit, what is new."""
    first = {vector["side"]: bytes.fromhex(vector["hex"])[1:] for vector in vectors("transcript")}
    started = decode(first["acceptor"], "opening")[1]
    [arrived, cut, asking, granting] = [carried(vector) for vector in vectors("resume_transcript")]
    [(_, resume, _), (_, confirm, _), *again] = asking
    [(_, resumed, _), *answers] = granting

    # Who asks is whom the ticket was given to, and both name what arrived before the cut.
    assert (resume["session_id"], resume["ticket"]) == (started["session_id"], started["ticket"])
    assert confirm == {"session_id": started["session_id"], "epoch": resume["epoch"]}
    assert resumed["epoch"] == resume["epoch"] == 1
    assert resumed["boot_id"] == started["boot_id"]
    assert resumed["ticket"] != resume["ticket"]
    assert resume["cursor"] == arrived[-1][1]["seq"] == 1
    lost = {fields["seq"]: (name, fields, octets) for name, fields, octets in cut}
    assert resumed["cursor"] == min(lost) - 1 == 2

    # Everything lost comes again under its number, first of all and byte for byte, but for a channel that was reset.
    assert [fields["seq"] for _, fields, _ in again[: len(lost)]] == list(lost)
    for name, fields, octets in again[: len(lost)]:
        _, before, old_octets = lost[fields["seq"]]
        if name == "RESET":
            assert fields == {"seq": before["seq"], "channel": before["channel"], "code": 0x0203}
        else:
            assert octets == old_octets
    assert "RESET" in [name for name, _, _ in again[: len(lost)]]

    # Then CREDIT of every channel that is not reset, then what is new, with the next numbers.
    credit, new = again[len(lost) : len(lost) + 2], again[len(lost) + 2 :]
    assert [(name, fields["channel"]) for name, fields, _ in credit] == [("CREDIT", 0), ("CREDIT", 1)]
    assert [fields["seq"] for _, fields, _ in new] == [max(lost) + 1, max(lost) + 2]
    assert [(name, fields.get("channel")) for name, fields, _ in answers[:2]] == [
        ("CREDIT", 0),
        ("CREDIT", 1),
    ]
    assert answers[0][1] == credit[0][1], "both ends of channel 0 begin with the same window"
    assert answers[1][1] == arrived[0][1], "absolute: said twice, it grants once"
    assert answers[2][:2] == ("ACK", {"cursor": new[-1][1]["seq"]})

    # What a receiver makes of both carriers.
    payloads = [bytes.fromhex(fields["payload"]) for name, fields, _ in again if name == "DATA"]
    assert payloads == [b"world", b"again"]
