"""Every event has a type, a schema, and fields that are declared (OBS-1, OBS-2, OBS-5)."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, Final

import jsonschema
import msgspec
import pytest

from web4.foundation.events import Emitter, encode_event
from web4.observe import KINDS, ObservabilityHub, event_schemas

SOURCES: Final = Path(__file__).parents[2] / "python" / "web4"
COMMON: Final = frozenset(
    Emitter.__call__.__kwdefaults__ or ()  # the fields beside the payload
)
OBS_2: Final = frozenset(
    """
    session_open session_suspend session_resume session_close session_lost heartbeat_timeout rekey channel_open
    channel_close backpressure replay_detected auth_failure transport_fallback handshake_started handshake_step
    handshake_completed handshake_deferred handshake_failed trust_transition trust_introduced trust_override
    envelope_queued envelope_sent envelope_received envelope_rejected envelope_routed envelope_unhandled
    envelope_concluded state_update intent_accepted intent_deferred loop_state phase hook_veto mission_drift
    task_cancelled claim_pending claim_vote claim_accepted claim_disputed claim_rejected tier_changed fetch_requested
    fetch_concluded consent_changed gate_result check_in_asked check_in_answered mesh_routed mesh_dropped peer_added
    peer_removed topology_changed route_changed service_invoked error metrics sink_lag
    """.split()  # noqa: SIM905 - one line for each would fill a page
)
NAMES: Final = frozenset({"emit", "_emit", "_report", "report", "Report"})
SAMPLES: Final[dict[str, Any]] = {
    "string": "x",
    "integer": 1,
    "number": 0.5,
    "boolean": True,
    "list": ["a"],
    "object": {"a": 1},
    "any": [1],
    "content": "a secret plan",
    "human": "tense",
}


def test_the_contract_is_complete() -> None:
    """OBS-2: the catalogue has every type that the contract names."""
    assert set(KINDS) >= OBS_2


def named(first: ast.expr) -> list[str]:
    """The types that the first argument of an emission may be, as far as it is written there."""
    match first:
        case ast.Constant(value=str(name)):
            return [name]
        case ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))):
            return [one, other]
        case ast.JoinedStr(values=parts):
            words = [str(one.value) if isinstance(one, ast.Constant) else None for one in parts]
            pattern = "".join(".+" if word is None else re.escape(word) for word in words)
            return [kind for kind in KINDS if re.fullmatch(pattern, kind)]
    return []


def emissions() -> list[tuple[str, set[str], str]]:
    """Every event that the sources emit by a name that stands there: type, payload fields, place."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        if path.is_relative_to(SOURCES / "demo"):
            continue  # its processes tell each other more than a node's events
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in NAMES:
                fields = {keyword.arg for keyword in node.keywords if keyword.arg} - COMMON
                place = f"{path.relative_to(SOURCES)}:{node.lineno}"
                found += [(kind, fields, place) for kind in named(node.args[0])]
    return found


def test_what_is_emitted_is_declared() -> None:
    """A type or a field that the catalogue does not have would be withheld from everybody."""
    found = emissions()
    assert len(found) > 40
    odd = [
        (kind, sorted(fields - set(KINDS[kind].fields) if kind in KINDS else fields), place)
        for kind, fields, place in found
        if kind not in KINDS or fields - set(KINDS[kind].fields)
    ]
    assert odd == []


def test_obs_schema_every_event_is_seen() -> None:
    """OBS-2: every type of the contract is looked for by a test of the room that emits it."""
    here = Path(__file__)
    tests = "".join(one.read_text() for one in here.parents[1].rglob("*.py") if one != here)
    assert [kind for kind in sorted(OBS_2) if f'"{kind}"' not in tests] == []


@pytest.mark.parametrize("name", KINDS)
def test_obs_schema_every_event(name: str) -> None:
    """OBS-1: what a sink gets of any type fits its schema, redacted or not; contents and people are not seen."""
    hub = ObservabilityHub("ada")
    kind = KINDS[name]
    payload = {field: SAMPLES[one] for field, one in kind.fields.items() if field != "from"}
    if "from" in kind.fields:
        payload["from"] = "x"
    hub.emit(name, peer="ab" * 32, state="open", **payload)
    (event,) = hub.memory
    document = msgspec.json.decode(encode_event(event))
    schema = event_schemas()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)
    text = encode_event(event).decode()
    assert "secret plan" not in text
    assert not re.search(r"\btense\b", text)
    assert not hub.redaction.withheld
