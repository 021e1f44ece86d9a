"""The kit itself: `check_lane_logic` must catch what it promises to catch (ACT-1)."""

from __future__ import annotations

import datetime
import os
import random
import secrets
import socket
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns as bound_early
from typing import TYPE_CHECKING

import pytest

from web4.foundation.logic import Decision
from web4.testing import ImpureLogicError, ManualClock, check_lane_logic

if TYPE_CHECKING:
    from collections.abc import Callable

REACHES: dict[str, Callable[[], object]] = {
    "wall clock": time.time,
    "monotonic clock, bound early": bound_early,
    "datetime": lambda: datetime.datetime.now(tz=datetime.UTC),
    "module random": random.random,
    "seeded random": random.Random(1).random,
    "operating system randomness": lambda: os.urandom(4),
    "secrets": lambda: secrets.token_hex(2),
    "uuid": uuid.uuid4,
    "file": lambda: open(__file__, "rb"),  # noqa: SIM115, PTH123
    "path": lambda: Path(__file__).read_bytes(),
    "socket": socket.socket,
    "environment listing": lambda: os.listdir("."),  # noqa: PTH208
}


@dataclass(frozen=True)
class Adder:
    """Adds numbers; `reach` names what it does that it must not, and where."""

    reach: str = ""
    within: str = "decide"
    initial: int = 0

    def decide(self, state: int, command: int) -> Decision[int, int]:
        if self.reach and self.within == "decide":
            REACHES[self.reach]()
        return Decision((command,), state + command)

    def apply(self, state: int, event: int) -> int:
        if self.reach and self.within == "apply":
            REACHES[self.reach]()
        return state + event


def test_pure_logic_passes() -> None:
    assert check_lane_logic(Adder(), [1, 2, 3]) == (6, [1, 2, 3])


@pytest.mark.parametrize("within", ["decide", "apply"])
@pytest.mark.parametrize("reach", REACHES)
def test_reaching_outside_is_caught(reach: str, within: str) -> None:
    with pytest.raises(ImpureLogicError):
        check_lane_logic(Adder(reach, within), [1])
    assert time.time() > 0, "and the tools are handed back"


class Forgetful(Adder):
    """Its replies depend on how often it was asked."""

    asked = 0

    def decide(self, state: int, command: int) -> Decision[int, int]:
        type(self).asked += 1
        return Decision((command,), type(self).asked)


class HashSeeded(Adder):
    """Its events depend on the hash seed of the process."""

    def decide(self, state: int, command: int) -> Decision[int, int]:
        return Decision((hash(f"{command}"),), 0)


@pytest.mark.parametrize("logic", [Forgetful(), HashSeeded()])
def test_deciding_differently_is_caught(logic: Adder) -> None:
    with pytest.raises(ImpureLogicError):
        check_lane_logic(logic, [1, 2])


def test_manual_clock_obeys() -> None:
    clock = ManualClock(1_000)
    clock.advance(5)
    assert (clock.wall_ms(), clock.monotonic_ns()) == (1_005, 5_000_000)
    clock.set_wall(7)
    assert (clock.wall_ms(), clock.monotonic_ns()) == (7, 5_000_000)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
