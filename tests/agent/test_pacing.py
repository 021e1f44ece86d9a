"""PACE-1 to PACE-3: load as a number, presence without flapping, telling at the right time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from web4.agent.pacing import LinuxSensors, Pacer, Readings, kernel_signals, lri
from web4.agent.pacing.telling import Told, tells
from web4.agent.pacing.wire_presence import Level, following, level_of
from web4.testing import ManualClock, TrioClock
from web4.testing.clocks import START_MS

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

shares = st.none() | st.floats(-1, 2)


@pytest.mark.parametrize(
    ("readings", "number", "signals"),
    [
        (Readings(), 0, ()),
        (Readings(cpu=0.5), 50, ()),
        (Readings(cpu=0.5, memory=0.1), 50, ()),
        (Readings(cpu=0.0, memory=0.0, queue=0.0), 0, ()),
        (Readings(io_wait=10), 50, ()),
        (Readings(io_wait=20), 100, ("io_wait_high",)),
        (Readings(io_wait=400), 100, ("io_wait_high",)),
        (Readings(temperature=40), 0, ()),
        (Readings(temperature=65), 50, ()),
        (Readings(temperature=90), 100, ("temperature_high", "kernel_overload")),
        (Readings(temperature=20), 0, ()),
        (Readings(cpu=0.86, queue=0.99), 99, ("cpu_high", "queue_high")),
        (Readings(memory=0.95), 95, ("memory_high", "kernel_overload")),
        (Readings(cpu=math.nan, memory=0.3), 30, ()),
    ],
)
def test_pace_lri(readings: Readings, number: int, signals: tuple[str, ...]) -> None:
    """PACE-1: the table; a missing sensor is left out, not counted as nothing."""
    assert lri(readings) == number
    assert kernel_signals(readings) == signals


@given(shares, shares, st.none() | st.floats(-50, 200), st.none() | st.floats(-50, 200), shares)
def test_pace_lri_is_a_percentage_that_grows_with_each_component(
    cpu: float | None,
    memory: float | None,
    io_wait: float | None,
    temperature: float | None,
    queue: float | None,
) -> None:
    """PACE-1: 0 to 100 whatever is read, and never less for more of anything."""
    readings = Readings(cpu=cpu, memory=memory, io_wait=io_wait, temperature=temperature, queue=queue)
    number = lri(readings)
    assert 0 <= number <= 100
    worse = Readings(
        cpu=None if cpu is None else cpu + 0.1,
        memory=memory,
        io_wait=None if io_wait is None else io_wait + 1,
        temperature=temperature,
        queue=queue,
    )
    assert lri(worse) >= number


@pytest.mark.parametrize(
    ("number", "signals", "presence"),
    [
        (0, (), "focused"),
        (30, (), "focused"),
        (31, (), "engaged"),
        (59, (), "engaged"),
        (60, (), "diffuse"),
        (84, (), "diffuse"),
        (85, (), "overloaded"),
        (100, (), "overloaded"),
        (0, ("kernel_overload",), "overloaded"),
        (0, ("cpu_high",), "focused"),
    ],
)
def test_pace_levels(number: int, signals: tuple[str, ...], presence: str) -> None:
    """PACE-2: the bounds, included on both sides."""
    assert level_of(number, signals) == presence


@pytest.mark.parametrize(
    ("start", "steps", "presence"),
    [
        ("overloaded", [(0, 84), (60_000, 81)], "overloaded"),
        ("overloaded", [(0, 80), (4_999, 80)], "overloaded"),
        ("overloaded", [(0, 80), (5_000, 80)], "diffuse"),
        ("overloaded", [(0, 80), (4_000, 81), (8_000, 80), (12_999, 80)], "overloaded"),
        ("overloaded", [(0, 10), (5_000, 10)], "focused"),
        ("diffuse", [(0, 56), (60_000, 56)], "diffuse"),
        ("diffuse", [(0, 55), (5_000, 55)], "engaged"),
        ("diffuse", [(0, 85)], "overloaded"),
        ("focused", [(0, 34), (60_000, 34)], "focused"),
        ("focused", [(0, 35), (4_999, 35)], "focused"),
        ("focused", [(0, 35), (5_000, 35)], "engaged"),
        ("focused", [(0, 60)], "diffuse"),
        ("focused", [(0, 99)], "overloaded"),
        ("engaged", [(0, 30)], "focused"),
        ("engaged", [(0, 60)], "diffuse"),
        ("overloaded", [(0, 10), (-10_000, 10), (-5_001, 10)], "overloaded"),
    ],
)
def test_pace_leaving_a_level(start: Any, steps: list[tuple[int, int]], presence: str) -> None:
    """PACE-2: a level is left 5 points beyond its bound and after 5 s; getting overloaded is at once."""
    level = Level(start)
    for at_ms, number in steps:
        level = following(level, number, (), at_ms)
    assert level.presence == presence


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 3_000)), max_size=60))
def test_pace_hysteresis_never_flaps(steps: list[tuple[int, int]]) -> None:
    """PACE-2: whatever the load, a better level than `overloaded` or `diffuse` comes after 5 s there at least."""
    level, at_ms, entered = Level(), 0, 0
    rank = {"focused": 0, "engaged": 1, "diffuse": 2, "overloaded": 3}
    for number, passed in steps:
        at_ms += passed
        after = following(level, number, (), at_ms)
        assert following(level, number, (), at_ms) == after
        if number >= 85:
            assert after.presence == "overloaded"
        if after.presence != level.presence:
            if rank[after.presence] < rank[level.presence] and level.presence != "engaged":
                assert at_ms - entered >= 5_000
            entered = at_ms
        level = after


@pytest.mark.parametrize(
    ("told", "presence", "number", "after_ms", "now"),
    [
        (None, "engaged", 0, 0, True),
        (("engaged", 50), "engaged", 50, 29_999, False),
        (("engaged", 50), "engaged", 50, 30_000, True),
        (("engaged", 50), "engaged", 59, 600, False),
        (("engaged", 50), "engaged", 60, 600, True),
        (("engaged", 50), "engaged", 40, 600, True),
        (("engaged", 50), "diffuse", 60, 499, False),
        (("engaged", 50), "diffuse", 60, 500, True),
        (("engaged", 50), "overloaded", 90, 1, True),
        (("overloaded", 90), "overloaded", 100, 1, False),
        (("engaged", 50), "engaged", 50, -1, True),
    ],
)
def test_pace_telling(told: Any, presence: Any, number: int, after_ms: int, now: bool) -> None:
    """PACE-3: on a change, on 10 points, every 30 s; at most 2 a second, becoming overloaded at once."""
    before = None if told is None else Told(told[0], told[1], START_MS)
    assert tells(before, presence, number, START_MS + after_ms) is now


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 2_000)), max_size=80))
def test_pace_telling_is_bounded(steps: list[tuple[int, int]]) -> None:
    """PACE-3: never three times within a second, becoming overloaded left aside, and never silent for 33 s."""
    level, told, at_ms, said = Level(), None, 0, [0]
    for number, passed in steps:
        at_ms += passed
        level = following(level, number, (), at_ms)
        became = level.presence == "overloaded" and (told is None or told.presence != "overloaded")
        if tells(told, level.presence, number, at_ms):
            told = Told(level.presence, number, at_ms)
            if not became:
                said.append(at_ms)
        assert told is not None
        assert at_ms - told.at_ms < 30_000
    for first, third in zip(said[1:], said[3:], strict=False):
        assert third - first >= 1_000


class Machine:
    """Sensors that say what a test sets, and the node that is told."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.told: list[tuple[float, str]] = []
        self.state: dict[str, Any] = {}

    def read(self) -> Readings:
        return Readings(cpu=self.cpu)

    def set_state(self, **state: Any) -> None:
        self.state = state

    def tell_state(self) -> None:
        self.told.append((trio.current_time(), self.state["presence"]))


async def test_pace_hysteresis(clock: MockClock) -> None:
    """PACE-2, PACE-3: load that swings around a bound does not make the presence flap; peers hear of real changes."""
    machine = Machine()
    seen: list[str] = []
    pacer = Pacer(
        machine,
        sensors=machine,
        queue=lambda: 0.2,
        clock=TrioClock(START_MS),
        observe=lambda presence, *_: seen.append(presence),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pacer.run)
        for second in range(60):
            machine.cpu = 0.83 + 0.04 * (second % 2)
            await trio.sleep(1)
        assert [presence for _, presence in machine.told].count("overloaded") >= 1
        changes = [
            presence for before, presence in zip([None, *seen], seen, strict=False) if presence != before
        ]
        assert changes in (["diffuse", "overloaded"], ["overloaded"])
        machine.cpu = 0.1
        await trio.sleep(10)
        assert machine.state["presence"] == "focused"
        assert machine.state["lri"] == 20, "the queue is a component, too"
        nursery.cancel_scope.cancel()
    gaps = [after - before for (before, _), (after, _) in zip(machine.told, machine.told[1:], strict=False)]
    assert min(gaps) >= 0.5
    assert max(gaps) <= 31


def test_pace_a_signal_of_the_node_makes_it_overloaded_at_once() -> None:
    machine, clock = Machine(), ManualClock()
    signals: list[str] = []
    pacer = Pacer(machine, sensors=machine, clock=clock, signals=lambda: signals)
    told: list[str] = []
    machine.tell_state = lambda: told.append(machine.state["presence"])  # type: ignore[method-assign]
    pacer.measure()
    signals.append("kernel_overload")
    clock.advance(1)
    pacer.measure()
    assert told == ["focused", "overloaded"]
    assert machine.state == {"presence": "overloaded", "lri": 0, "kernel_signals": ("kernel_overload",)}
    assert pacer.presence == "overloaded"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_sensors_read_what_the_kernel_writes(tmp_path: Path) -> None:
    """PACE-1: the control group's own figures where it has limits, the machine's elsewhere."""
    write(tmp_path, "proc/stat", "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n")
    write(tmp_path, "proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable: 750 kB\n")
    write(tmp_path, "proc/self/cgroup", "4:memory:/old\n0::/web4.slice\n")
    write(tmp_path, "sys/class/thermal/thermal_zone0/temp", "41000\n")
    write(tmp_path, "sys/class/thermal/thermal_zone1/temp", "65500\n")
    sensors = LinuxSensors(tmp_path)
    assert sensors.read() == Readings(memory=0.25, temperature=65.5)
    write(tmp_path, "proc/stat", "cpu  150 0 150 780 120 0 0 0 0 0\n")
    second = sensors.read()
    assert second.cpu == pytest.approx(0.5)
    assert second.io_wait == pytest.approx(10.0)
    write(tmp_path, "proc/pressure/cpu", "some avg10=12.50 avg60=1 avg300=1 total=1\nfull avg10=9 total=0\n")
    assert sensors.read().cpu == 0.125
    group = "sys/fs/cgroup/web4.slice/"
    write(tmp_path, group + "cpu.pressure", "some avg10=90.00 avg60=1 avg300=1 total=1\n")
    write(tmp_path, group + "memory.max", "1000\n")
    write(tmp_path, group + "memory.current", "900\n")
    write(tmp_path, group + "memory.stat", "anon 600\ninactive_file 200\n")
    third = sensors.read()
    assert third.cpu == 0.9
    assert third.memory == pytest.approx(0.7)
    write(tmp_path, group + "memory.max", "max\n")
    assert sensors.read().memory == 0.25


@given(st.binary(max_size=200), st.sampled_from(["stat", "meminfo", "pressure/cpu", "self/cgroup"]))
def test_sensors_survive_whatever_stands_there(tmp_path_factory: Any, data: bytes, name: str) -> None:
    root = tmp_path_factory.mktemp("machine")
    path = root / "proc" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    sensors = LinuxSensors(root)
    sensors.read()
    assert 0 <= lri(sensors.read()) <= 100


def test_sensors_of_this_machine() -> None:
    """The real ones: at least memory and processor time are there on any Linux."""
    sensors = LinuxSensors()
    first, second = sensors.read(), sensors.read()
    assert first.memory is not None
    assert second.memory is not None
    assert 0 < second.memory < 1
    assert 0 <= lri(second) <= 100
