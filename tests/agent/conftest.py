"""What the tests of the agent loop share."""

from __future__ import annotations

import pytest
from trio.testing import MockClock


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps as soon as nothing else can happen."""
    return MockClock(autojump_threshold=0)
