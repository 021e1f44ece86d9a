"""The deny list, tried for real: the kernel says EPERM before it looks at arguments that mean nothing (EXT-29)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.worker.sandbox import attacks
from tests.worker.sandbox.inside import asked, run
from web4.worker.sandbox.calls_denied import DENIED

if TYPE_CHECKING:
    from pathlib import Path

    from web4.worker.request import Level

# Neither a descriptor nor an address is ever all ones, so nothing would happen if a call came through.
NOTHING = [2**64 - 1] * 6


@pytest.mark.parametrize("level", ["standard", "strict"])
def test_every_denied_call_is_denied(tmp_path: Path, level: Level) -> None:
    names = [
        one for one in DENIED.split() if one in attacks.NUMBERS and one not in {"memfd_secret", "shmget"}
    ]
    ran = run(asked(tmp_path, level=level), *[(attacks.without_names, one, *NOTHING) for one in names])
    assert dict(zip(names, ran.outcomes, strict=True)) == dict.fromkeys(names, "EPERM")


@pytest.mark.parametrize("level", ["standard", "strict"])
def test_terminals_personalities_and_leases(tmp_path: Path, level: Level) -> None:
    ran = run(
        asked(tmp_path, level=level),
        (attacks.type_into_terminal,),
        (attacks.without_names, "personality", 0x0040000),  # ADDR_NO_RANDOMIZE
        (attacks.without_names, "fcntl", 0, 1024, 0),  # F_SETLEASE
        (attacks.without_names, "close_range", 900, 1000, 2),  # CLOSE_RANGE_UNSHARE
    )
    assert ran.outcomes == ["EPERM"] * 4
