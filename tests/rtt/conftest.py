"""Fixtures of the transport's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rtt.arrange import paired

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.rtt.arrange import Pair


@pytest.fixture
async def pair() -> AsyncGenerator[Pair]:
    async with paired() as joined:
        yield joined


@pytest.fixture(params=["tcp", "unix"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address to listen at, of each transport."""
    return "tcp://127.0.0.1:0" if request.param == "tcp" else f"unix://{tmp_path}/s"
