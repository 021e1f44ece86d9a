"""What every test of extensions has."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient_reaping(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the kernel takes for what was killed says something about the machine: it gets four times as long as
    from a node. That this is bounded has a test of its own (EXT-21)."""
    monkeypatch.setattr("web4.extensions.conversation.conversation.REAPING", 1.0)
