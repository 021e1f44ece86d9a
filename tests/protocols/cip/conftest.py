"""What the CIP tests over sockets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from web4.protocols.cip.peer import PeerLane

if TYPE_CHECKING:
    from web4.protocols.cip.peer_state import PeerCommand, PeerOutcome


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps once nothing has happened for a moment: the kernel's sockets are not part of the mock."""
    return MockClock(autojump_threshold=0.02)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, PeerCommand]]:
    """Every command that any lane is given, with its peer."""
    commands: list[tuple[str, PeerCommand]] = []
    handle = PeerLane.handle

    def recording(lane: PeerLane, command: PeerCommand) -> PeerOutcome:
        commands.append((lane.peer, command))
        return handle(lane, command)

    monkeypatch.setattr(PeerLane, "handle", recording)
    return commands
