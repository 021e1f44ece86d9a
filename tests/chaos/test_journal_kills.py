"""kill -9 at any moment: nothing that was answered is lost, and every boot says the same of what was under way.

`WEB4_KILLS=500 pytest tests/chaos/test_journal_kills.py` kills as often as you want; a failure prints the seed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from tests.actors.jobs import EVENTS, JobCommand, JobLane, Look, Requested
from tests.chaos.journal_node import LANES
from tests.kills import kills
from web4.actors import open_lane_actors
from web4.foundation.digest import blake3_hex
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.recovery import RECOVERY_EVENTS, RecoveryClassified, classify
from web4.journal.verify import verify

if TYPE_CHECKING:
    from web4.journal.backends.backend import Backend

KILLS = int(os.environ.get("WEB4_KILLS", "5"))
SEED = int(os.environ.get("WEB4_SEED", "4"))


Verdict = tuple[str, str, str, str]
"""Lane, subject, class, reason."""


class _EnoughError(Exception):
    """Ends a boot as abruptly as a test can in its own process."""


def live_and_die(directory: Path, seed: int, seconds: float) -> set[tuple[str, str]]:
    """Start a node, let it work for so long, kill it; what it had been answered."""
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.journal_node", str(directory), str(seed)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdout is not None
    try:
        assert node.stdout.readline() == "ready\n"
        time.sleep(seconds)
    finally:
        node.kill()
        said, _ = node.communicate()
    *lines, _ = said.split("\n")  # what was cut off in the middle of a line was not said
    return {(lane, memo) for lane, memo in (line.split(" ") for line in lines)}


async def expected_verdicts(directory: Path) -> list[Verdict]:
    """What the journal alone says of the work it shows (JRN-13), in the order of lanes."""
    verdicts: list[Verdict] = []
    async with open_sqlite(directory, read_only=True) as store:
        for lane in LANES:
            work = await store.open_work(lane, limit=10_000)
            verdicts += [(str(lane), one.work.subject, one.class_, one.reason) for one in classify(work)]
    return verdicts


async def boot(directory: Path) -> tuple[list[Verdict], list[str]]:
    """Boot once, perform nothing; all verdicts that were ever recorded, and the digests of all states."""

    async def work(_: Requested) -> JobCommand:
        await trio.sleep_forever()
        raise AssertionError

    definition: Any = JobLane(work=work)
    verdicts: list[Verdict] = []
    digests: list[str] = []
    try:
        async with (
            open_sqlite(directory) as store,
            open_journal(store, registry=EventRegistry((*EVENTS, *RECOVERY_EVENTS))) as journal,
            open_lane_actors(journal, {"session": definition}) as actors,
        ):
            for lane in LANES:
                await actors.lane(lane).ask(Look())  # behind what recovery queued again
                state = await actors.lane(lane).state()
                digests.append(blake3_hex(definition.encode(state)))
                verdicts += [
                    (str(lane), one.subject, one.class_, one.reason)
                    for one in await classified(journal, lane)
                ]
            raise _EnoughError
    except* _EnoughError:
        pass
    return verdicts, digests


async def classified(journal: Any, lane: Any) -> list[RecoveryClassified]:
    found, after = [], 0
    while records := await journal.read(lane, after=after):
        events = [journal.registry.decode(one) for one in records if one.type == "recovery.classified"]
        found += events
        after = records[-1].seq
    return found


async def memos(store: Backend) -> set[tuple[str, str]]:
    registry = EventRegistry((*EVENTS, *RECOVERY_EVENTS))
    found, after = set(), 0
    for lane in LANES:
        after = 0
        while records := await store.read(lane, after=after):
            found |= {(str(lane), registry.decode(one).memo) for one in records if one.type == "job.noted"}
            after = records[-1].seq
    return found


async def test_kill_and_boot_again(tmp_path: Path) -> None:
    """JRN-12b, JRN-13d, classes_on_boot on real processes: acknowledged is durable, verdicts are the same."""
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    directory, answered, judged = tmp_path / "journal", set[tuple[str, str]](), list[Verdict]()
    for kill in kills(KILLS, answered, judged):
        answered |= live_and_die(directory, SEED * 10_000 + kill, chance.uniform(0.0, 0.12))
        copies = [tmp_path / "one", tmp_path / "two"]
        for copy in copies:
            shutil.copytree(directory, copy)
        expected = await expected_verdicts(copies[0])
        first, second = [await boot(copy) for copy in copies]
        assert first == second, f"two boots on the same bytes differ after kill {kill}"
        # What an earlier boot has classified and is still as it was is not said again.
        newest = {
            (lane, subject): (lane, subject, class_, reason) for lane, subject, class_, reason in first[0]
        }
        assert set(expected) <= set(newest.values()), f"kill {kill}"
        async with open_sqlite(directory, read_only=True) as store:
            lost = answered - await memos(store)
            assert not lost, f"kill {kill}: answered and lost: {sorted(lost)[:5]}"
            if kill % 25 == 0 or kill >= KILLS - 1:
                assert not (await verify(store, EventRegistry((*EVENTS, *RECOVERY_EVENTS)))).findings
        judged += expected
        for copy in copies:
            shutil.rmtree(copy)
    assert answered
    assert judged
    print(f"{KILLS} kills, {len(answered)} answered, {len(judged)} verdicts")
