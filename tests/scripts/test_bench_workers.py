"""The benchmark of workers measures what it says (EXT-45); nothing here looks at how fast anything is."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from scripts.bench.rounds import Spread
from scripts.bench.workers_loads import child, web4_workers
from scripts.bench.workers_report import tables, verdicts
from scripts.bench.workers_rounds import (
    FULL,
    KILLING,
    POOLS,
    QUICK,
    LoadFailedError,
    Run,
    measure,
    name_of,
    tasks,
)
from scripts.bench.workers_task import Task, private_kib


def test_every_task_has_a_load_and_a_name_of_its_own() -> None:
    for counts in (FULL, QUICK):
        todo = list(tasks(counts, POOLS))
        assert {task.contender for task in todo} <= set(child.LOADS)
        assert len({name_of(task) for task in todo}) == len(todo)
    assert set(KILLING) < set(POOLS)
    assert "futures" not in KILLING, "it cannot end a call that hangs"


def test_tasks_survive_the_command_line() -> None:
    task = Task("web4", "noop_call", 5, 2, callers=16, workers=2)
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task


@pytest.mark.parametrize("contender", ["ping_pong", "ping_pong_trio", "fork"])
def test_floors_are_measured(contender: str) -> None:
    """EXT-45: F and S are taken in the same run."""
    found = measure(Task(contender, "noop_call", 20, 2))
    assert 0 < found["p50_us"] <= found["p99_us"] <= found["max_us"]


def test_our_calls_are_measured() -> None:
    """EXT-45: through the host, sandbox and all."""
    found = measure(Task("web4", "noop_call_16", 64, 16, callers=16, workers=2))
    assert found["rate"] > 0


def test_a_kill_is_measured_from_the_deadline() -> None:
    """EXT-45: of a worker that sleeps; nothing of it is left."""
    found = measure(Task("web4", "overshoot_sleeping", 2, workers=1))
    assert found["p50_us"] > 0


def test_a_pool_of_the_standard_library_is_measured() -> None:
    for figure in ("noop_call", "noop_call_16"):
        assert measure(Task("futures", figure, 40, 20, callers=16, workers=2))["rate"] > 0
    assert measure(Task("futures", "memory", 1, workers=2))["private_kib"] > 0


def test_a_load_that_fails_is_named_with_its_reason() -> None:
    with pytest.raises(LoadFailedError, match="KeyError"):
        measure(Task("web4", "nothing", 1))


def test_descendants_are_all_that_live_below() -> None:
    before = web4_workers.descendants(os.getpid())
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(web4_workers.descendants(os.getpid()) - before) == 2
        assert private_kib([process.pid]) > 0
        process.communicate(b"\n")
    assert web4_workers.descendants(os.getpid()) == before


def _spread(value: float) -> Spread:
    return Spread(value, value, value)


def test_goals_are_met_missed_or_not_known() -> None:
    """EXT-45: without a figure nothing is claimed; the best of a peer's ways counts."""
    run = Run(
        {
            "noop_call/ping_pong": {"p50_us": _spread(20)},
            "noop_call/web4": {"p50_us": _spread(60), "p99_us": _spread(400)},
            "noop_call/anyio_trio": {"p50_us": _spread(70)},
            "kill_to_served/web4": {"p50_us": _spread(4_000)},
            "kill_to_served/pebble": {"p50_us": _spread(100_000)},
            "kill_to_served_2/pebble": {"p50_us": _spread(30_000)},
        },
        {"noop_call/loky": "ModuleNotFoundError: No module named 'loky'"},
    )
    found = {one.goal: one for one in verdicts(run)}
    assert found["noop_call p50 <= 4 F"].met is True
    assert found["noop_call p99 <= 10 F"].met is False
    assert found["noop_call p50 <= 0.5x trio-parallel"].met is None
    assert found["noop_call p50 below every peer"].met is True
    assert found["kill_to_served, from the deadline on: p50 <= 5 ms"].met is True
    assert found["deadline to served <= 1/8 of the best peer that kills"].value == pytest.approx(4 / 30)
    text = tables(run, list(found.values()))
    assert "noop_call/loky: ModuleNotFoundError" in text
