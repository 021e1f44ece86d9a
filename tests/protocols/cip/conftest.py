"""What the CIP tests over sockets share."""

from __future__ import annotations

import pytest
from trio.testing import MockClock


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps once nothing has happened for a moment: the kernel's sockets are not part of the mock."""
    return MockClock(autojump_threshold=0.02)
