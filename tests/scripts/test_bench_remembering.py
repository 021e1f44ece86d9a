"""The benchmark of what a journal costs a conversation measures both sides and the boot."""

from __future__ import annotations

from scripts.bench.remembering import SIDES, measure


def test_both_sides_and_the_boot_are_measured() -> None:
    report = measure(rounds=1, seconds=0.1, peers=20)
    assert tuple(report["sides"]) == SIDES
    for figures in report["sides"].values():
        assert set(figures) == {"open_ms", "facts_per_s", "intent_p50_us", "intent_p99_us"}
        assert all(figure > 0 for figure in figures.values())
    assert report["boot"]["peers"] == 20
    assert report["boot"]["seconds"] > 0
