"""The field types that all envelopes share (section 3; ID-3, SIG-4)."""

from __future__ import annotations

import base64
import re
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web4.foundation.codec import (
    ENCODER,
    AgentId,
    Base64Of32,
    Base64Of64,
    Fingerprint,
    HexDigest,
    HumanId,
    Message,
    Timestamp,
    Uuid4,
)

BASE64_32 = base64.b64encode(bytes(range(32))).decode()
BASE64_64 = base64.b64encode(bytes(range(64))).decode()
UUID = "1f0c3f0e-6d0b-4f3c-9b1e-2a5d7c9e0b11"

cases: list[tuple[Any, str, list[str]]] = [
    (AgentId, "a.b_c-9", ["", "A", "a b", "a\n", "é", "a" * 65, "a/b", "a\0"]),
    (AgentId, "a" * 64, ["a" * 64 + "\n"]),
    (HumanId, "h" * 63, ["", "h" * 64, "H", "h\n"]),
    (HexDigest, "0f" * 32, ["0F" * 32, "0f" * 31, "0f" * 33, "0f" * 32 + "\n", "0x" + "0f" * 31, "g" * 64]),
    (Fingerprint, "0f" * 32, ["0F" * 32, "", "0f" * 31 + "0\n"]),
    (
        Uuid4,
        UUID,
        [UUID.upper(), UUID[:14] + "1" + UUID[15:], UUID[:19] + "c" + UUID[20:], UUID.replace("-", "")],
    ),
    (Uuid4, UUID, [UUID + "\n", "{" + UUID + "}", "urn:uuid:" + UUID]),
    (Timestamp, "2026-01-02T03:04:05.678Z", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678z", ""]),
    (
        Base64Of32,
        BASE64_32,
        [BASE64_32[:-1], BASE64_32 + "\n", BASE64_32[:-2] + "9=", BASE64_64, "-" + BASE64_32[1:]],
    ),
    (Base64Of64, BASE64_64, [BASE64_64[:-1], BASE64_64[:-3] + "x==", BASE64_32, "_" + BASE64_64[1:]]),
]


@pytest.mark.parametrize(("kind", "good", "bad"), cases)
def test_field_types(kind: Any, good: str, bad: list[str]) -> None:
    """One spelling of each value; msgspec and the exported JSON Schema agree (ENV-1, SIG-4)."""
    validator = jsonschema.Draft202012Validator(msgspec.json.schema(kind))
    assert msgspec.json.decode(msgspec.json.encode(good), type=kind) == good
    validator.validate(good)
    for text in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(text), type=kind)
        with pytest.raises(jsonschema.ValidationError):
            validator.validate(text)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
def test_base64_patterns_know_every_value(short: bytes, long: bytes) -> None:
    msgspec.convert(base64.b64encode(short).decode(), Base64Of32)
    msgspec.convert(base64.b64encode(long).decode(), Base64Of64)


def test_base64_patterns_know_no_second_spelling() -> None:
    """SIG-4: of the last letters, exactly those whose unused bits are zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for kind, length, unused in ((Base64Of32, 43, 2), (Base64Of64, 86, 4)):
        for value, letter in enumerate(alphabet):
            text = "A" * (length - 1) + letter
            text += "=" * (-len(text) % 4)
            if value % (1 << unused) == 0:
                msgspec.convert(text, kind)
            else:
                with pytest.raises(msgspec.ValidationError, match=re.escape("regex")):
                    msgspec.convert(text, kind)


class Note(Message, frozen=True, tag_field="type", tag="NOTE"):
    """A message for these tests."""

    z: int
    a: AgentId | None = None


def test_messages_are_strict() -> None:
    """ENV-1: unknown fields and wrong types are refused; absent fields are not written, keys are sorted."""
    note = msgspec.json.decode(b'{"type":"NOTE","z":1}', type=Note)
    assert ENCODER.encode(note) == b'{"type":"NOTE","z":1}'
    assert ENCODER.encode(Note(z=1, a="x")) == b'{"a":"x","type":"NOTE","z":1}'
    for bad in (
        b'{"type":"NOTE"}',
        b'{"type":"NOTE","z":1,"y":2}',
        b'{"type":"OTHER","z":1}',
        b'{"type":"NOTE","z":"1"}',
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(bad, type=Note)
    with pytest.raises(AttributeError):
        note.z = 2  # type: ignore[misc]
