"""What is looked at after a call, and how often (EXT-25); the look that a short call does without."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import trio

from tests.extensions.hosting import running, write_extension
from web4.extensions.conversation.metering import EACH, LONG, Meter
from web4.extensions.processes import Usage

if TYPE_CHECKING:
    from pathlib import Path


class Watched:
    """A process of which is written down which looks counted its descriptors."""

    pid = os.getpid()
    protections = SimpleNamespace(tree_kill="single_process")

    def __init__(self) -> None:
        self.looks: list[bool] = []

    def usage(self, earlier: Usage | None = None) -> Usage:
        self.looks.append(earlier is None)
        return Usage(0, 4096 * len(self.looks), 3 if earlier is None else earlier.descriptors, 1)


def test_memory_is_looked_at_after_each_call_and_descriptors_now_and_then() -> None:
    process = Watched()
    meter = Meter(cast("Any", process), cast("Any", SimpleNamespace(output_bytes=1)), _wire())
    meter.end()  # of its start
    process.looks.clear()
    for _ in range(3 * EACH):
        meter.begin()
        meter.end(LONG / 10)
    counted = [number for number, look in enumerate(process.looks, 2) if look]
    assert len(process.looks) == 3 * EACH
    assert counted == [2, 4, 8, EACH, 2 * EACH, 3 * EACH]
    assert meter.peak == 4096 * 3 * EACH
    meter.begin()
    meter.end(2 * LONG)
    assert process.looks[-1], "a call that took long is looked at whole"


async def test_a_leak_of_descriptors_is_found_within_a_few_calls(tmp_path: Path) -> None:
    """EXT-25: at the latest `EACH` calls after it began."""
    write_extension(tmp_path / "ext", resources={"workers": 1})
    async with running(tmp_path / "ext", runtime=tmp_path / "run") as host:
        for _ in range(5):
            await host.call("tool", "echo", {"value": "x"})
        first = (await host.call("tool", "who", {})).value
        await host.call("tool", "leak", {"number": 12})
        with trio.fail_after(60):
            served = [(await host.call("tool", "who", {})).value for _ in range(EACH)]
        assert served[-1] != first


def _wire() -> Any:
    return SimpleNamespace(received=0)
