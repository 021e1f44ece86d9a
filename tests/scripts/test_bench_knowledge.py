"""The ledger's benchmark runs, and what it measures is what it says."""

from __future__ import annotations

from scripts.bench.knowledge import measure


def test_it_measures_a_full_ledger() -> None:
    figures = measure(claims=40, votes=4)
    assert (figures["claims"], figures["votes"]) == (40, 40 * 4 - 4)
    assert figures["state"]["same"]
    assert figures["trust"]["decisions"] >= 1
    assert all(figures[name]["p50_us"] > 0 for name in ("vote", "accepting", "doubt"))
