"""Every acceptance scenario of section 23 has a test of its name, and every program of the documents is run by one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
SCENARIOS = """
    env_roundtrip_all_types env_canonical_vectors env_reject_matrix env_not_canonical
    sig_bitflip_every_byte sig_batch_equals_single fp_pubkey_mismatch ts_skew_boundaries rep_same_id
    rep_window_full_refuses misaddressed_receiver wrong_channel env_fuzz hs_two_processes hs_needs_verify
    hs_other_session hs_bad_response hs_timeouts_and_losses hs_defer_on_overload hs_survives_resume
    trust_full_matrix trust_gate_matrix trust_two_confirmers trust_cooldown_backoff
    trust_override_needs_human trust_per_peer trust_survives trust_anchor trust_verified_promotes_proposer
    fact_accept_after_two fact_dispute_beats_confirms fact_untrusted_source_rejected fact_overload_waits
    fact_shared_entry fact_retraction_flags fact_vote_withdrawn fact_contradiction_blocks
    fact_relaxed_mode fact_order_independent hcp_limited_scope hcp_boundaries hcp_checkin
    hcp_decision_complete hcp_slow_pacing hcp_stale_state hcp_restricted_exit hcp_social_table
    lip_tier_rules lip_missing_provenance lip_hearsay lip_dedup_expiry_bound lip_deferred_until_trusted
    lip_learning_gate lip_only_accepted_in_memory fetch_constraints fetch_address_matrix fetch_redirects
    fetch_robots fetch_limits route_matrix route_idempotent route_unknown_unhandled route_min_trust
    outbox_sender_crash outbox_full outbox_peer_offline loop_peer_question loop_supersede_same_lane
    loop_thresholds_progress loop_hooks_order_and_veto pace_hysteresis drift_detects_shift drift_flip_flop
    dmp_every_decision causal_explain_path foreign_experience_weight obs_schema_every_event
    obs_order_and_gap obs_slow_sink obs_deterministic mesh_multihop_three mesh_loop_hop_limit_expiry
    mesh_reroute_on_kill mesh_broadcast_once mesh_ten_nodes mesh_introduction_probing_only
    mesh_revoked_introducer mesh_consensus_four graph_reject_matrix graph_roundtrip graph_routes_reference
    graph_service_end_to_end demo_exit_codes demo_clean_interrupt key_permissions
    import_has_no_side_effects docs_examples_run
"""


def test_every_scenario_has_a_test_of_its_name() -> None:
    """Section 23: "Names are test names"."""
    found = {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    names = SCENARIOS.split()
    assert len(names) == len(set(names)) == 97
    assert [name for name in names if f"test_{name}" not in found] == []


def test_docs_examples_run() -> None:
    """Section 23: a guide with a program in it is read by a test that runs it; so is each example."""
    tests = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    guides = [path for path in (ROOT / "docs").rglob("*.md") if "<!-- file:" in path.read_text()]
    programs = [
        path
        for path in (ROOT / "examples").rglob("*.py")
        if "__main__" in path.read_text() or "trio.run" in path.read_text()
    ]
    assert len(guides) > 9
    assert len(programs) >= 3
    assert sorted(path.name for path in (*guides, *programs) if path.name not in tests) == []
    runners = re.findall(r"def test_docs_examples_run_(\w+)", tests)
    assert len(runners) >= len(guides)
