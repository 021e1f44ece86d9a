"""All peers of a node: independence, newcomers, observers, events out (TRUST-8, TRUST-10, OBS-2)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.trust.examples import COMMANDS, NOW
from web4.trust import (
    Anchored,
    AuthFailure,
    EvidenceStore,
    HandshakeOk,
    Introduced,
    OperatorBlock,
    TrustEvent,
    TrustLimits,
    TrustRegistry,
    TrustViolationError,
)

A, B = "a" * 64, "b" * 64


def test_trust_per_peer() -> None:
    """TRUST-9: whatever happens to one peer changes nothing of another."""
    registry = TrustRegistry()
    registry.anchor([A, B], at_ms=NOW)
    before = registry.record(B)
    for name in ("conflict", "unverifiable", "auth_failure", "malicious_evidence"):
        registry.handle(A, COMMANDS[name]())
    assert registry.state(A) == "blacklisted"
    assert registry.record(B) == before


def test_newcomers_are_limited_to_a_thousand_an_hour() -> None:
    """TRUST-10: the next newcomer is refused without a record, until the oldest is an hour ago."""
    registry = TrustRegistry()
    for number in range(1_000):
        registry.handle(f"{number:064x}", HandshakeOk(at_ms=NOW + number))
    with pytest.raises(TrustViolationError) as refused:
        registry.handle(A, HandshakeOk(at_ms=NOW + 1_000))
    assert refused.value.code == "newcomer_limit"
    assert (registry.fsm(A), len(registry)) == (None, 1_000)
    assert registry.newcomer_retry_ms(NOW + 1_000) == 3_600_000 - 1_000

    # Known peers and the operator's own acts do not wait.
    assert registry.handle(f"{5:064x}", HandshakeOk(at_ms=NOW + 1_000)).state == "probing"
    assert registry.handle(A, OperatorBlock(at_ms=NOW, human="ada", reason="flood")).state == "blacklisted"
    assert registry.handle(B, Anchored(at_ms=NOW)).state == "trusted"

    assert not registry.newcomer_allowed(NOW + 3_599_999)
    assert registry.handle("c" * 64, HandshakeOk(at_ms=NOW + 3_600_000)).state == "probing"


def test_introduced_peers_are_newcomers_too() -> None:
    """TRUST-10 knows no exception for introductions: a trusted peer cannot fill the node with records."""
    registry = TrustRegistry(limits=TrustLimits(newcomers_per_hour=2))
    command = Introduced(at_ms=NOW, introducer=B, introducer_state="trusted")
    for number in range(2):
        assert registry.handle(f"{number:064x}", command).state == "probing"
    with pytest.raises(TrustViolationError) as refused:
        registry.handle(A, command)
    assert (refused.value.code, len(registry)) == ("newcomer_limit", 2)


def test_strangers_leave_no_record() -> None:
    """An event that leaves a peer unknown is counted for the node and held for nobody."""
    registry = TrustRegistry()
    for number in range(100):
        registry.handle(f"{number:064x}", AuthFailure(at_ms=NOW, session_id="s", reason="signature"))
    assert (len(registry), registry.unrecorded["auth_failure"]) == (0, 100)


def test_every_event_is_reported_and_observed_once() -> None:
    """OBS-2: transitions, introductions and operator acts under their own types, with from, to and reason."""
    seen: list[tuple[str, dict[str, Any]]] = []
    observed: list[tuple[str, TrustEvent]] = []
    registry = TrustRegistry(emit=lambda kind, /, **fields: seen.append((kind, fields)))
    stop = registry.observe(lambda peer, event: observed.append((peer, event)))
    registry.handle(A, COMMANDS["introduced"]())
    registry.handle(A, HandshakeOk(at_ms=NOW))
    registry.handle(A, OperatorBlock(at_ms=NOW, human="ada", reason="stolen key"))
    stop()
    stop()
    registry.handle(A, HandshakeOk(at_ms=NOW))

    assert [(kind, fields["severity"], fields["from"], fields["to"]) for kind, fields in seen] == [
        ("trust_introduced", "info", "unknown", "probing"),
        ("trust_transition", "debug", "probing", "probing"),
        ("trust_override", "warning", "probing", "blacklisted"),
        ("trust_transition", "debug", "blacklisted", "blacklisted"),
    ]
    assert seen[2][1]["reason"] == "stolen key"
    assert [(peer, event.seq) for peer, event in observed] == [(A, 1), (A, 2), (A, 3)]


def test_limits_are_checked_at_start() -> None:
    """LIM-1: a limit that makes no sense is refused where it is set."""
    with pytest.raises(ValueError, match="cooldown_ms"):
        TrustLimits(cooldown_ms=0)
    with pytest.raises(ValueError, match="cooldown_cap_ms"):
        TrustLimits(cooldown_cap_ms=1_000)
    with pytest.raises(ValueError, match="grave_confidence"):
        TrustLimits(grave_confidence=1.5)
    with pytest.raises(ValueError, match="bounds"):
        EvidenceStore(max_bytes=0)
    with pytest.raises(ValueError, match="bounds"):
        EvidenceStore(max_bytes_per_peer=0)


def test_evidence_is_held_up_to_its_bound_and_never_pushed_out() -> None:
    store = EvidenceStore(max_bytes=10)
    assert store.put(A, "aa", b"12345678")
    assert store.put(A, "aa", b"12345678"), "held already"
    assert not store.put(A, "bb", b"123")
    assert store.put(A, "cc", b"12")
    assert (store.get("aa"), store.get("bb"), store.refused) == (b"12345678", None, 1)


def test_one_peer_does_not_use_up_the_evidence_store() -> None:
    """LIM-1: evidence against one peer fills its own share; another's still has room."""
    store = EvidenceStore(max_bytes=100, max_bytes_per_peer=10)
    assert store.put(A, "aa", b"1234567890")
    assert not store.put(A, "bb", b"1")
    assert store.put(B, "cc", b"1234567890")
