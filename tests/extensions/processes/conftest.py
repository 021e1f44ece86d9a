"""What every test of processes begins with: it knows which children are not its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.extensions.processes import arrange

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _others() -> Iterator[None]:
    arrange.OTHERS.clear()
    arrange.OTHERS.update(arrange.children())
    yield
    arrange.OTHERS.clear()
