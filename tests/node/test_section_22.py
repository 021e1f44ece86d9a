"""Section 22, and the numbers in the rules, written a second time: what a node does that nobody configured (LIM-1)."""

from __future__ import annotations

import inspect

from web4.agent.options import AgentOptions
from web4.agent.pacing import telling, wire_presence
from web4.foundation.envelope import DEFAULT_MAX_BYTES
from web4.governance import DriftRules
from web4.mesh.policy import MeshForwardingPolicy
from web4.observe import ObservabilityHub
from web4.observe.hub import open_hub
from web4.protocols.cip import CipOptions
from web4.protocols.cip.outbox.entries import OutboxLimits
from web4.protocols.cip.outbox.pacing import SILENCE_MS
from web4.protocols.hcp import social, values
from web4.protocols.hcp.gate import PRESSED, UNCLEAR
from web4.protocols.knowledge.ledger import evaluation
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.knowledge.memory import MemoryLimits
from web4.protocols.knowledge.memory.asking import FOREIGN_WEIGHT, HALF_LIFE_MS
from web4.protocols.knowledge.sources import tiers
from web4.protocols.lip.fetching.options import FetchOptions
from web4.protocols.router import RouterOptions
from web4.trust import TrustLimits

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
KIB, MIB = 1024, 1024 * 1024


def test_section_22() -> None:
    """The table, row by row."""
    cip = CipOptions(agent_id="ada")
    assert (cip.skew_ms, cip.envelope_bytes, DEFAULT_MAX_BYTES) == (120 * SECOND, 192 * KIB, 192 * KIB)
    outbox = cip.outbox
    assert outbox == OutboxLimits()
    assert (outbox.retention_ms, outbox.ttl_ms, outbox.entries, outbox.bytes) == (
        7 * DAY,
        5 * DAY,
        10_000,
        64 * MIB,
    )
    assert (cip.replay_ids, cip.step_deadline_ms) == (150_000, 5 * SECOND)
    trust, ledger = TrustLimits(), KnowledgeLimits()
    assert (trust.cooldown_ms, trust.cooldown_cap_ms, trust.cooldown_reset_ms) == (MINUTE, HOUR, DAY)
    assert (ledger.confirmers_needed, ledger.mode) == (2, "strict")
    assert (ledger.open_claims, ledger.pending_ms, ledger.disputed_ms) == (1_024, DAY, 7 * DAY)
    assert (ledger.parked, ledger.parked_ms) == (1_024, DAY)
    assert (PRESSED, UNCLEAR, values.STALE_MS) == (80, 30, 10 * MINUTE)
    assert (values.PACE_MS, values.CHECK_IN_MS, evaluation.LEARNING_LRI) == (30 * SECOND, 10 * MINUTE, 50)
    mesh = MeshForwardingPolicy()
    assert (mesh.max_hops, mesh.ttl_ms, mesh.fan_out) == (3, MINUTE, 8)
    assert (mesh.stale_ms, mesh.advertise_ms) == (90 * SECOND, 30 * SECOND)
    assert (cip.messages_per_second, cip.message_burst) == (500, 1_000)
    assert (cip.handshakes_per_second, cip.handshake_burst) == (5, 20)
    for opens in (ObservabilityHub, open_hub):
        assert inspect.signature(opens).parameters["ring"].default == 10_000


def test_numbers_in_the_rules_of_trust_and_knowledge() -> None:
    """TRUST-4, TRUST-10, KNOW-10, LIP-2, LIP-6, MEM-2, MEM-3, HCP-8."""
    trust, ledger = TrustLimits(), KnowledgeLimits()
    assert (trust.unverifiable_count, trust.unverifiable_window_ms) == (3, 10 * MINUTE)
    assert (trust.grave_confidence, trust.grave_confirmers, trust.grave_count) == (0.9, 2, 3)
    assert trust.newcomers_per_hour == 1_000
    assert (ledger.open_per_peer, ledger.recheck_ms, evaluation.SUPPORTING) == (256, DAY, 2)
    assert (tiers.ACCEPTED_FOR_HIGH, tiers.STILL_ACCEPTED_PERCENT) == (20, 95)
    assert (MemoryLimits().records, HALF_LIFE_MS, FOREIGN_WEIGHT) == (100_000, 90 * DAY, 0.5)
    assert (social.GOOD, social.BAD, social.WITHIN_MS) == (70, 40, DAY)


def test_numbers_in_the_rules_of_the_fetcher() -> None:
    """FETCH-6 to FETCH-8, FETCH-11."""
    fetch = FetchOptions()
    assert (fetch.connect_seconds, fetch.total_seconds, fetch.redirects) == (5, 30, 5)
    assert (fetch.header_bytes, fetch.body_bytes, fetch.expansion) == (64 * KIB, 2 * MIB, 20)
    assert (fetch.per_host, fetch.spacing_seconds, fetch.in_all) == (2, 1, 8)
    assert (fetch.robots_bytes, fetch.robots_seconds, fetch.crawl_delay_seconds) == (500 * KIB, 86_400, 30)
    assert fetch.exceptions == ()


def test_numbers_in_the_rules_of_the_agent_and_the_mesh() -> None:
    """LOOP-1, LOOP-4, LOOP-6, PACE-2 to PACE-4, DRIFT-3, DRIFT-4, ROUTE-5, MESH-7, VAL-4, CIP-2."""
    agent, drift, cip = AgentOptions(), DriftRules(), CipOptions(agent_id="ada")
    assert (agent.waiting_per_lane, agent.cancel_grace_ms, agent.hook_ms) == (256, SECOND, SECOND)
    assert (wire_presence.OVERLOADED_FROM, wire_presence.DIFFUSE_FROM, wire_presence.FOCUSED_UP_TO) == (
        85,
        60,
        30,
    )
    assert (wire_presence.MARGIN, wire_presence.HOLD_MS, SILENCE_MS) == (5, 5 * SECOND, 90 * SECOND)
    assert (telling.STEP, telling.EVERY_MS, telling.PAUSE_MS) == (10, 30 * SECOND, 500)
    assert (drift.window, drift.judged_from, drift.flip_flop_within) == (50, 20, 10)
    assert (drift.warn_below, drift.block_below, drift.cleared_above) == (0.15, 0.30, 0.05)
    assert RouterOptions().retries == 3
    assert MeshForwardingPolicy().relay_bytes_per_second == MIB
    assert (cip.faults_per_minute, cip.errors_per_second) == (20, 10)
