"""A host in bad weather: callers that give up, workers that die, reloads, quarantines, an end in the middle (EXT-3).

Real workers, one seed. Every call is concluded exactly once, with its own answer; nothing is left behind.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import trio

from tests.extensions.hosting import LONG, hosted, write_extension
from tests.seeds import a_seed
from web4.extensions.errors import CallError, ExtensionError
from web4.extensions.outcome import CODES, CallOutcome
from web4.extensions.processes import open_processes

if TYPE_CHECKING:
    from pathlib import Path

    from web4.extensions.hosting.host import ExtensionHost

SEED = a_seed()
CALLS = 20 * int(os.environ.get("WEB4_ROUNDS", "10"))
CALLERS = 8
TOOLS = ("echo", "echo", "echo", "sleep", "obey", "stubborn", "crash", "leave", "add", "hoard")
EXPECTED = CODES - {
    "extension_changed",
    "extension_unprotected",
    "extension_output_exceeded",
    "extension_disk_exceeded",
}


class Weather:
    def __init__(self, host: ExtensionHost, rng: random.Random, started: dict[str, int]) -> None:
        self.host = host
        self.rng = rng
        self.started = started
        self.outcomes: dict[int, CallOutcome] = {}
        self.cancelled: set[int] = set()
        self.refused: set[int] = set()
        self.numbers = iter(range(CALLS))
        self.calm = trio.Event()

    def arguments(self, tool: str, number: int) -> dict[str, Any]:
        rng = self.rng
        arguments: dict[str, dict[str, Any]] = {
            "echo": {"value": f"value {number}" + "." * rng.choice((0, 10, 300_000))},
            "sleep": {"seconds": rng.choice((0.001, 0.02, 1.0))},
            "crash": {"number": rng.choice((6, 9, 11))},
            "leave": {"status": 3},
            "add": {"one": number, "other": 1},
            "hoard": {"mebibytes": rng.choice((1, 100, 400))},
        }
        return arguments.get(tool, {})

    async def caller(self) -> None:
        for number in self.numbers:
            rng = self.rng
            tool = rng.choice(TOOLS)
            if rng.random() < 0.5:
                with suppress(ExtensionError):
                    await self.host.reset("acme.bench")
            arguments = self.arguments(tool, number)
            kind: Any = "command" if tool == "add" else "tool"
            with trio.move_on_after(rng.choice((0.0, 0.005, 0.05, 60, 60, 60))) as scope:
                with self.host.pin() if rng.random() < 0.3 else nullcontext() as view:
                    try:
                        outcome = await self.host.call(
                            kind,
                            tool,
                            arguments,
                            timeout_ms=rng.choice((5, 60, 200)),
                            remaining_ms=rng.choice((None, 40)),
                            idempotency_key=rng.choice((None, str(number))),
                            view=view,
                        )
                    except CallError:
                        self.refused.add(number)
                        continue
                assert number not in self.outcomes
                self.outcomes[number] = outcome
                self.check(tool, number, arguments, outcome)
            if scope.cancelled_caught:
                self.cancelled.add(number)

    def check(self, tool: str, number: int, arguments: dict[str, Any], outcome: CallOutcome) -> None:
        assert outcome.operation in (f"tool:{tool}", f"command:{tool}")
        assert outcome.elapsed_ms is not None
        assert outcome.queue_ms is not None
        assert outcome.timeout_ms is not None
        if outcome.outcome == "ok":
            due = {"echo": arguments.get("value"), "add": {"sum": number + 1}}
            assert outcome.value == due.get(tool, outcome.value), number
            assert tool not in ("stubborn", "crash", "leave")
        else:
            assert outcome.code in EXPECTED, outcome
            assert outcome.reason
            assert outcome.value is None
        assert outcome.signal is None or outcome.exit_status is None, outcome
        if outcome.cpu_ms is not None:
            assert outcome.cpu_ms >= 0

    async def storms(self) -> None:
        while not self.calm.is_set():
            await trio.sleep(self.rng.random() * 0.05)
            what = self.rng.random()
            if what < 0.2:
                with suppress(ExtensionError):
                    await self.host.reload("acme.bench")
            elif what < 0.5:
                with suppress(ExtensionError):
                    await self.host.reset("acme.bench")
            elif what < 0.9 and self.started:
                with suppress(ProcessLookupError):
                    os.kill(self.rng.choice(list(self.started.values())), signal.SIGKILL)
            elif what < 0.93:
                self.host.unload("acme.bench")
                with suppress(ExtensionError):
                    await self.host.reload("acme.bench")


async def test_whatever_happens_each_call_is_concluded_once_with_its_own_answer(tmp_path: Path) -> None:
    print(f"WEB4_SEED={SEED}")
    write_extension(tmp_path / "ext", resources={"workers": 3, "memory_mb": 128}, timeouts={"cancel_ms": 30})
    started: dict[str, int] = {}

    def emit(type: str, /, **fields: Any) -> None:  # noqa: A002 - as an `Emitter` has it
        if type == "worker_started":
            started[fields["worker_id"]] = fields["pid"]
        elif type == "worker_exited":
            started.pop(fields["worker_id"], None)

    before = len(list(os.scandir("/proc/self/fd")))
    with trio.fail_after(LONG):
        async with open_processes(runtime=tmp_path / "run", emit=emit) as processes:
            inside = len(list(os.scandir("/proc/self/fd")))
            async with hosted(processes, tmp_path / "ext") as host, trio.open_nursery() as nursery:
                await host.ready("acme.bench")
                weather = Weather(host, random.Random(SEED), started)
                nursery.start_soon(weather.storms)
                async with trio.open_nursery() as callers:
                    for _ in range(CALLERS):
                        callers.start_soon(weather.caller)
                nursery.cancel_scope.cancel()
                health = host.health().extensions
                assert not any(one.pool.busy or one.pool.waiting for one in health)
            while processes.living:
                await trio.sleep(0.01)
            assert len(list(os.scandir("/proc/self/fd"))) <= inside
            assert not started
            assert not list(tmp_path.glob("run/*/tmp/*"))
    assert len(list(os.scandir("/proc/self/fd"))) <= before
    assert weather.outcomes.keys() | weather.cancelled | weather.refused == set(range(CALLS))
    assert not weather.outcomes.keys() & weather.refused
    told = Counter(one.code for one in weather.outcomes.values())
    print(f"{dict(told)}, {len(weather.cancelled)} given up, {len(weather.refused)} not called")
