"""What every test of extensions has."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient_reaping(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the kernel takes for what was killed says something about the machine: what came of a call is known in
    the end. That a node waits 250 ms at most has tests of its own (EXT-21)."""
    monkeypatch.setattr("web4.extensions.conversation.conversation.REAPING", 30.0)
