"""The benchmark of envelopes compares equal work."""

from __future__ import annotations

from scripts.bench.envelope import SIZE, measure, prepare


def test_both_sides_do_the_same() -> None:
    """`prepare` refuses to start unless both sides seal the same bytes and open them to the same values."""
    sealed = prepare()["seal"][0]()
    assert isinstance(sealed, bytes)
    assert len(sealed) == SIZE


def test_every_job_is_measured() -> None:
    rows = measure(rounds=1, repeats=1)
    assert [row["job"] for row in rows] == ["seal", "open", "open, no schema", "parse only"]
    assert all(row["ours_us"] > 0 and row["theirs_us"] > 0 for row in rows)
