"""The benchmark of the journal measures what it says (JRN-26); nothing here looks at how fast anything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from scripts.bench import journal_boot
from scripts.bench.journal_loads import child, lane, raw
from scripts.bench.journal_report import tables, verdicts
from scripts.bench.journal_rounds import CONTENDERS, QUICK, LoadFailedError, Run, Settings, measure, run
from scripts.bench.journal_task import PAYLOAD, Counting, Task
from scripts.bench.rounds import Spread
from web4.testing.lane_logic import check_lane_logic

if TYPE_CHECKING:
    from pathlib import Path


def settings(directory: Path, contenders: list[str]) -> Settings:
    return Settings(1, 0.01, 0.05, contenders, str(directory))


def test_the_raw_loop_writes_the_bytes_of_all_callers(tmp_path: Path) -> None:
    """JRN-26a: the baseline appends as many bytes as there are callers' payloads, and counts records."""
    found = raw.measure(Task("raw", 16, str(tmp_path), 0.0, 0.02))
    assert (tmp_path / "raw").stat().st_size == found["messages"] * PAYLOAD
    assert found["messages"] % 16 == 0


def test_payloads_have_their_size() -> None:
    assert len(lane.registry().encode(lane.Noted(1, lane.memo()))) == PAYLOAD


def test_every_contender_has_a_load() -> None:
    assert {contender.load for contender in CONTENDERS.values()} <= set(child.LOADS)
    assert set(QUICK) <= set(CONTENDERS)


def test_ratios_are_to_raw_of_as_many_callers_in_the_same_round(tmp_path: Path) -> None:
    found = run(settings(tmp_path, ["raw/16", "sqlite/16", "sqlite_one_lane/16", "mailbox/1"]))
    assert not found.failures
    assert found.ratios["raw/16"].median == 1
    assert set(found.ratios) == {"raw/16", "sqlite/16", "sqlite_one_lane/16"}
    rates = {name: values["rate"].median for name, values in found.results.items()}
    assert found.ratios["sqlite/16"].median == pytest.approx(rates["sqlite/16"] / rates["raw/16"], abs=1e-3)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_had_says_so(tmp_path: Path) -> None:
    found = run(settings(tmp_path, ["postgresql/16"]))
    assert found.results == {}
    assert "PostgreSQL" in found.failures["postgresql/16"]
    assert "postgresql/16: no PostgreSQL" in tables(found, None, verdicts(found, None))


def test_a_load_that_fails_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(LoadFailedError, match="FileNotFoundError"):
        measure(Task("raw", 1, str(tmp_path / "missing")))


def test_a_store_boots_replays_and_recovers(tmp_path: Path) -> None:
    """JRN-26b to d, of a small store: it is killed with 64 effects open, and all of it is there afterwards."""
    boots = journal_boot.run(str(tmp_path), events=1_280, lanes=64, payload=64, rounds=1)
    assert not boots.failures
    assert boots.results["replay"]["applied"].median == 1_280
    assert boots.results["boot"]["applied"].median == 0
    assert boots.results["recover"]["recovery_s"].median > 0
    assert list(tmp_path.iterdir()) == []


def test_counting_begins_anew() -> None:
    counting = Counting()
    counting.latencies.append(1)
    counting.begin()
    counting.latencies += [2_000, 4_000]
    found = counting.end()
    assert found["messages"] == 2
    assert found["p99_us"] == 4


def test_goals_are_met_missed_or_not_known() -> None:
    """Goals of JRN-26a: a median below its floor misses it; without a figure nothing is claimed."""
    ratios = {"sqlite/1": Spread(0.40, 0.1, 0.9), "sqlite/16": Spread(0.29, 0.29, 0.29)}
    found = {one.goal.split(" ")[0]: one.met for one in verdicts(Run({}, ratios, {}), None)[:3]}
    assert found == {"sqlite/1": True, "sqlite/16": False, "sqlite/256": None}


def test_tasks_survive_the_command_line() -> None:
    task = Task("boot", directory="/somewhere", events=5, lanes=2)
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task


def test_the_lane_is_pure() -> None:
    commands: list[lane.Note | lane.Ask | lane.Answer] = [
        lane.Note(1, "a", 1),
        lane.Ask("e", True, 2),
        lane.Answer("e", "ok", 3),
    ]
    check_lane_logic(lane.TallyLogic(), commands)
