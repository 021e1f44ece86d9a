"""A node that dies between request and conclusion: one conclusion each, the same verdict at each boot (EXT-3, JRN-13).

`WEB4_KILLS=100 pytest tests/extensions/test_calls_lane_kills.py` kills as often as you want; a failure prints the seed.
"""

from __future__ import annotations

import copy
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from tests.actors.jobs import START
from tests.extensions.calling import LANE, Host, calling, concluded, forever, outcome, request
from tests.extensions.calls_node import LANES
from web4.actors import open_lane_actors
from web4.extensions.calls.call_events import CALL_EVENTS, CallConcluded, CallRequested
from web4.extensions.calls.calls_lane import CallsLane, ExtensionCalls
from web4.extensions.calls.calls_logic import RequestCall
from web4.journal import EventRegistry, open_journal
from web4.journal.backends.memory import MemoryStore
from web4.journal.backends.sqlite import open_sqlite
from web4.journal.recovery import RECOVERY_EVENTS

if TYPE_CHECKING:
    from web4.extensions.outcome import CallOutcome

KILLS = int(os.environ.get("WEB4_KILLS", "3"))
SEED = int(os.environ.get("WEB4_SEED", "5"))


def killed(store: MemoryStore) -> MemoryStore:
    """What a crash of its node leaves of a store."""
    left = copy.deepcopy(store)
    left.kill()
    return left


async def test_what_a_crash_leaves_follows_the_manifest() -> None:
    """JRN-13, EXT-3: idempotent calls are made again with the same key, others conclude with the reason."""
    store = MemoryStore()
    async with calling(Host(forever), store) as (_, actors):
        await actors.lane(LANE).ask(RequestCall(request=request("once", arguments=1), at=START))
        again = request("again", arguments=2, idempotent=True)
        await actors.lane(LANE).ask(RequestCall(request=again, at=START))
        await trio.testing.wait_all_tasks_blocked()
        crashed = killed(store)
    verdicts = []
    for _ in range(2):  # two boots that end before the call does
        async with calling(host := Host(forever), boot := copy.deepcopy(crashed)) as (journal, _):
            await trio.testing.wait_all_tasks_blocked()
            assert [(asked, arguments) for asked, arguments in host.asked] == [(again, 2)]
            (lost,) = await concluded(journal)
            verdicts.append([one for one in await journal.read(LANE) if one.type == "recovery.classified"])
            crashed = killed(boot)
        assert (lost.call_id, lost.outcome, lost.code) == ("once", "killed", "worker_lost")
        assert "effect_not_idempotent" in (lost.reason or "")
        assert (lost.retryable, lost.side_effects) == (False, None)
    assert [one.payload for one in verdicts[0]] == [one.payload for one in verdicts[1]]
    assert len(verdicts[0]) == 2
    async with calling(Host("done"), crashed) as (journal, _):
        await trio.testing.wait_all_tasks_blocked()
        _, done = await concluded(journal)
        assert (done.call_id, done.outcome, done.value.inline) == ("again", "ok", "done")
        assert await journal.open_work() == []


class _EnoughError(Exception):
    """Ends a boot as abruptly as a test can in its own process."""


def live_and_die(directory: Path, seed: int, seconds: float) -> dict[str, str]:
    """Start a node, let it call for so long, kill it; what its callers heard."""
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.extensions.calls_node", str(directory), str(seed)],
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
    return dict(line.split(" ") for line in lines)


def worked(directory: Path) -> list[tuple[str, str]]:
    """The calls that a worker saw, with their keys."""
    file = Path(f"{directory}.worked")
    lines = file.read_text().splitlines() if file.exists() else []
    return [(line.split(" ")[0], line.split(" ", 1)[1]) for line in lines]


async def boot(directory: Path, host: Host, *, seconds: float = 0) -> tuple[list[Any], list[Any]]:
    """Boot once; the verdicts of all boots so far, and all events of the lanes."""
    events: list[Any] = []
    registry = EventRegistry((*CALL_EVENTS, *RECOVERY_EVENTS))
    try:
        async with (
            open_sqlite(directory) as store,
            open_journal(store, registry=registry) as journal,
            open_lane_actors(journal, {"human": CallsLane(calls=ExtensionCalls(journal, host))}) as actors,
        ):
            for lane in LANES:
                await actors.lane(lane).state()
            with trio.move_on_after(seconds):
                while await journal.open_work():
                    await trio.sleep(0.01)
            for lane in LANES:
                after = 0
                while records := await journal.read(lane, after=after):
                    events += [registry.decode(one) for one in records]
                    after = records[-1].seq
            raise _EnoughError
    except* _EnoughError:
        pass
    names = {one.struct for one in RECOVERY_EVENTS}
    return [one for one in events if type(one) in names], events


def test_kill_9_between_request_and_conclusion(tmp_path: Path) -> None:
    """EXT-3, JRN-13: real processes, killed at any moment."""
    chance, directory = random.Random(SEED), tmp_path / "journal"
    heard: dict[str, str] = {}
    for number in range(KILLS):
        print("seed", SEED, "kill", number)
        heard |= live_and_die(directory, SEED * 10_000 + number, chance.uniform(0.02, 0.4))
        before = worked(directory)
        copies = [tmp_path / "one", tmp_path / "two"]
        for one in copies:
            shutil.copytree(directory, one)
        (first, seen), (second, _) = [trio.run(boot, one, Host(forever)) for one in copies]
        assert first == second, "two boots on the same bytes say the same"
        third, _ = trio.run(boot, copies[0], Host(forever))
        assert third == first, "a boot after a boot has nothing to add"
        for one in copies:
            shutil.rmtree(one)
        requested = {one.call_id: one for one in seen if isinstance(one, CallRequested)}
        assert {call_id for call_id, _ in before} <= set(requested), "no worker saw what was not durable"
        repeated: list[CallRequested] = []

        async def again(asked: CallRequested, arguments: Any, *, repeated: Any = repeated) -> CallOutcome:
            repeated.append(asked)
            return outcome(asked, "again")

        def finish(host: Host) -> Any:
            return boot(directory, host, seconds=30)

        _, events = trio.run(finish, Host(again))
        check(events, repeated, heard, before)


def check(
    events: list[Any], repeated: list[CallRequested], heard: dict[str, str], seen: list[tuple[str, str]]
) -> None:
    requested = {one.call_id: one for one in events if isinstance(one, CallRequested)}
    ended = [one for one in events if isinstance(one, CallConcluded)]
    assert Counter(one.call_id for one in ended) == Counter(list(requested)), "one conclusion each"
    outcomes = {one.call_id: one for one in ended}
    for call_id, said in heard.items():
        assert outcomes[call_id].outcome == said, "what a caller heard is what the lane says"
    for one in ended:
        if one.outcome == "killed":
            assert one.code == "worker_lost"
            assert not requested[one.call_id].idempotent
    for asked in repeated:
        assert asked.idempotent
        assert requested[asked.call_id] == asked
    keys = {call_id: one.idempotency_key for call_id, one in requested.items()}
    assert all(keys[call_id] == key for call_id, key in seen)
    times = Counter(call_id for call_id, _ in seen)
    assert all(number == 1 for number in times.values()), "a node makes each call once"
