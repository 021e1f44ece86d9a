"""The benchmark of envelopes end to end runs, and says what it has not measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scripts.bench import catalog, envelopes, shares
from scripts.bench.child import PROFILE
from scripts.bench.rounds import Settings, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("peer", [envelopes.OURS, envelopes.DURABLE])
def test_a_short_run(peer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes: what the client sent came to the server's handler."""
    monkeypatch.setenv(PROFILE, str(tmp_path / "profile"))
    settings = Settings(rounds=1, warm_up=0.0, seconds=0.3, samples=0, figures=["one_way_64"], pin=False)
    found = run({peer: catalog.module(peer)}, settings)
    assert not found.failures
    seen = found.results[peer]["one_way_64"]
    assert seen["rate"].median > 0
    assert seen["client_messages"].median >= seen["server_messages"].median > 0
    told = shares.table(str(tmp_path / "profile"))
    assert "signatures" in told
    assert "lane" in told


def test_what_is_not_here_is_not_measured() -> None:
    """A goal without its peer is neither met nor missed."""
    lines = envelopes.verdicts({envelopes.OURS: {}})
    assert len(lines) == len(envelopes.GOALS) * len(envelopes.FIGURES)
    assert all(line.endswith("not measured") for line in lines)
