"""Mission documents (DRIFT-1) and how words are scored against them (DRIFT-2)."""

from __future__ import annotations

import base64
import json
from types import MappingProxyType

import pytest

from tests.governance.missions import FORBIDDEN, GOALS, OPERATOR, document, mission
from web4.foundation.digest import canonical
from web4.foundation.identity import Identity
from web4.governance import Goal, MissionRefused, TermOverlap, read_mission, sign_mission, text_of
from web4.governance.mission import MOST_BYTES
from web4.protocols.lip import Origin, UntrustedText
from web4.testing.clocks import START_MS

SIGNERS = [OPERATOR.fingerprint]


def test_mission_is_what_was_signed() -> None:
    """DRIFT-1: goals with weights, forbidden outcomes, a version; the same again when read."""
    read = mission(7)
    assert (read.version, read.goals, read.forbidden) == (7, GOALS, FORBIDDEN)
    bare = read_mission(sign_mission(OPERATOR, version=1, goals=GOALS, issued_ms=START_MS), signers=SIGNERS)
    assert bare.forbidden == ()


def test_mission_every_byte_counts() -> None:
    """DRIFT-1, SIG-2: with any byte changed it is refused, and nothing but a refusal comes of it."""
    data = document()
    for at in range(len(data)):
        for flip in (1, 32):
            changed = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            with pytest.raises(MissionRefused):
                read_mission(changed, signers=SIGNERS)


def test_mission_of_another_signer_or_purpose() -> None:
    """DRIFT-1, SIG-2: only the keys that are heeded count, and a signature for something else is none."""
    stranger = sign_mission(Identity.from_seed(b"s" * 32), version=1, goals=GOALS, issued_ms=START_MS)
    with pytest.raises(MissionRefused, match="mission_signer"):
        read_mission(stranger, signers=SIGNERS)
    forged = json.loads(document())
    unsigned = canonical({name: value for name, value in forged.items() if name != "signature"})
    for purpose in ("envelope", "handshake"):
        signature = OPERATOR.sign(unsigned, protocol="governance", version="1.0", purpose=purpose)
        forged["signature"] = base64.b64encode(signature).decode()
        with pytest.raises(MissionRefused, match="mission_signature"):
            read_mission(canonical(forged), signers=SIGNERS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"x" * (MOST_BYTES + 1),
        document().replace(b'"mission":"1.0"', b'"mission":"2.0"'),
        document().replace(b'"version":1', b'"version":0'),
        document()[:-1] + b',"more":1}',
        document().replace(b'"goals":', b'"goals": '),
        document().replace(b'"forbidden":', b'"forbidden":[],"forbidden":'),
    ],
)
def test_mission_malformed(data: bytes) -> None:
    """DRIFT-1, ENV-1: what is no mission in canonical form is refused before its signature is looked at."""
    with pytest.raises(MissionRefused, match="mission_malformed"):
        read_mission(data, signers=SIGNERS)
    with pytest.raises(MissionRefused, match="mission_malformed"):
        sign_mission(OPERATOR, version=1, goals=[], issued_ms=START_MS)
    with pytest.raises(MissionRefused, match="mission_malformed"):
        sign_mission(OPERATOR, version=1, goals=[Goal(name="n", words="w", weight=2.0)], issued_ms=START_MS)


@pytest.mark.parametrize(
    ("text", "value", "goals", "forbidden"),
    [
        ("Forecast the weather: rain and wind", 1.0, ("forecast",), None),
        ("the rain", 1.0, ("forecast",), None),
        ("rain tomorrow in Oslo", 1 / 3, ("forecast",), None),
        ("Explain clouds", 0.5, ("teach",), None),
        ("explain rain", 0.5 + 0.25, ("forecast", "teach"), None),
        ("RAIN, WIND: explain clouds", 2 / 4 + 0.5, ("forecast", "teach"), None),
        ("sell shoes", 0.0, (), None),
        ("", 0.0, (), None),
        ("weather so bad: evacuation, order it", 0.0, (), "evacuate"),
        ("".join(chr(ord(letter) + 0xFEE0) for letter in "ORDER") + " Evacuation", 0.0, (), "evacuate"),
        ("an evacuation forecast", 1 / 2, ("forecast",), None),
        ("call_sirens-now", 0.0, (), "evacuate"),
    ],
)
def test_term_overlap(text: str, value: float, goals: tuple[str, ...], forbidden: str | None) -> None:
    """DRIFT-2: weighted term overlap, at most 1; a forbidden outcome scores 0, however well the rest fits."""
    score = TermOverlap().score(mission(), text)
    assert (round(score.value, 9), score.goals, score.forbidden) == (round(value, 9), goals, forbidden)
    assert score == TermOverlap().score(mission(), text)


def test_text_of_json() -> None:
    """DRIFT-2: all strings of a context are read, in a fixed order, and never more than a bound."""
    context = {"b": ["two", {"c": "three"}, 4, None], "a": "one"}
    assert text_of("topic", context) == "topic one two three"
    assert len(text_of(*["x" * 5_000] * 10)) <= 16_384
    deep: object = "end"
    for _ in range(3_000):
        deep = [deep]
    assert text_of(deep) == "end"
    origin = Origin(kind="peer", source="ada", digest="0" * 64, at_ms=1)
    said = MappingProxyType({"topic": UntrustedText(text="rain", origin=origin), "n": 1})
    assert text_of(said) == "rain"
