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


def emissions() -> list[tuple[str, set[str], str]]:
    """Every event that the sources emit by a literal name: type, payload fields, place."""
    found = []
    for path in sorted(SOURCES.rglob("*.py")):
        if path.is_relative_to(SOURCES / "demo"):
            continue  # its processes tell each other more than a node's events
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            first = node.args[0]
            if name in NAMES and isinstance(first, ast.Constant) and isinstance(first.value, str):
                fields = {keyword.arg for keyword in node.keywords if keyword.arg} - COMMON
                found.append((first.value, fields, f"{path.relative_to(SOURCES)}:{node.lineno}"))
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
