"""Many callers over several lanes while everything fails, against a model that knows what it was told (JRN-4 to -15).

Every reply is checked when it comes, and at the end what is stored: numbers without a gap, everything that was
acknowledged, nothing that was refused, every batch as a whole. `WEB4_SIM_SEEDS=500` runs more seeds, `WEB4_SIM_SEED=7`
one of them. A seed draws the same faults; Trio shuffles tasks that are ready, so run a failing one several times.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio

from tests.journal.arrange import NOTED, Bench, note
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.journal.backends.memory import MemoryStore, RandomFaults, open_memory
from web4.journal.chain import check_run
from web4.journal.errors import Compacted, JournalUnavailable, NotCommittedError, WrongExpectedSeq
from web4.journal.journal import Append
from web4.journal.lane import SERVER, Lane
from web4.journal.record import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.journal import Journal

FIRST = os.environ.get("WEB4_SIM_SEED")
SEEDS = [int(FIRST)] if FIRST else range(int(os.environ.get("WEB4_SIM_SEEDS", "4")))
LANES = [SERVER, *(Lane("session", name) for name in "abc"), Lane("peer", "p")]
SIGNER = Identity.from_seed(b"simulation".ljust(32, b"\0"))


@dataclass
class Model:
    """What callers were told. A batch has a text of its own for every event, so that each can be found again."""

    durable: dict[tuple[Lane, int], str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    batches: list[dict[Lane, list[str]]] = field(default_factory=list)
    heads: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(LANES, 0))
    """The greatest number of each lane that somebody was told of."""
    answers: dict[str, int] = field(default_factory=dict)

    def answer(self, what: str) -> None:
        self.answers[what] = self.answers.get(what, 0) + 1

    def succeeded(self, lane: Lane, first: int, texts: Sequence[str]) -> None:
        for seq, text in enumerate(texts, first):
            assert self.durable.setdefault((lane, seq), text) == text, f"{lane} {seq} was told twice"
            self.heads[lane] = max(self.heads[lane], seq)
        assert not self.refused & set(texts), "what was refused is there"

    def wrong(self, error: WrongExpectedSeq, known: dict[Lane, int], texts: list[str]) -> None:
        lane = error.lane
        assert isinstance(lane, Lane)
        assert error.actual != error.expected
        assert error.actual >= known[lane], "a head went back"
        self.heads[lane] = max(self.heads[lane], error.actual)
        self.refused |= set(texts)
        assert not self.refused & set(self.durable.values()), "what was told to be there is refused"


class Caller:
    """Appends to lanes, sometimes on an old head, sometimes twice, sometimes cancelled."""

    def __init__(self, model: Model, name: str, draw: random.Random) -> None:
        self.model = model
        self.name = name
        self.draw = draw
        self.count = 0

    async def run(self, journal: Journal, rounds: int) -> None:
        for _ in range(rounds):
            await trio.sleep(self.draw.random() * 0.05)
            lanes = self.draw.sample(LANES, self.draw.choice([1, 1, 1, 2, 3]))
            appends, batch = [], {}
            for lane in sorted(lanes, key=lambda _: self.draw.random()):
                self.count += 1
                batch[lane] = [f"{self.name} {self.count} {n}" for n in range(self.draw.randint(1, 3))]
                try:
                    head = (await journal.head(lane)).seq
                except JournalUnavailable:
                    return  # closed: no more of this life
                expected = max(0, head - (self.draw.random() < 0.1))
                at = 1_000 + self.draw.randint(-50, 50)
                appends.append(Append(lane, [note(text, at) for text in batch[lane]], expected))
            self.model.batches.append(batch)
            for attempt in range(1 + (self.draw.random() < 0.3)):
                with trio.move_on_after(0.03 if self.draw.random() < 0.2 else 1_000) as scope:
                    await self._append(journal, appends, batch, first=not attempt)
                if scope.cancelled_caught:
                    self.model.answer("cancelled")

    async def _append(
        self, journal: Journal, appends: list[Append], batch: dict[Lane, list[str]], *, first: bool
    ) -> None:
        known = dict(self.model.heads)
        try:
            appended = await journal.append_batch(appends)
        except WrongExpectedSeq as error:
            self.model.answer("refused" if first else "refused again")
            # That a repetition is refused, because the lane has moved on, says nothing of the first attempt.
            self.model.wrong(
                error, known, [text for texts in batch.values() for text in texts] if first else []
            )
        except JournalUnavailable as error:
            self.model.answer(str(error.code))
            if error.code in {"closed", "failed"} and first:
                self.model.refused |= {text for texts in batch.values() for text in texts}
        else:
            self.model.answer("done" if first else "done again")
            for (lane, events, _), one in zip(appends, appended, strict=True):
                assert one.last_seq - one.first_seq + 1 == len(events)
                self.model.succeeded(lane, one.first_seq, batch[lane])


async def follow(journal: Journal, model: Model, lane: Lane, cursor: list[int], draw: random.Random) -> None:
    """Follow one lane over all its life; `cursor` keeps the place over restarts."""
    while True:
        try:
            async for record in journal.follow(lane, after=cursor[0]):
                assert record.seq == cursor[0] + 1, f"{lane}: {record.seq} came after {cursor[0]}"
                cursor[0] = record.seq
                if record.type == NOTED.name:
                    text = journal.registry.decode(record).text
                    assert model.durable.setdefault((lane, record.seq), text) == text
                if draw.random() < 0.1:
                    await trio.sleep(draw.random() * 0.2)
        except Compacted as error:
            model.answer("compacted")
            cursor[0] = max(cursor[0] + 1, error.base_seq)


async def caught_up(journal: Journal, cursors: dict[Lane, list[int]]) -> None:
    """Every follower reaches the end of its lane."""
    for lane, cursor in cursors.items():
        with trio.fail_after(1_000):
            while cursor[0] < (await journal.head(lane)).seq:  # noqa: ASYNC110 - another task moves it
                await trio.sleep(0.1)


async def compact(journal: Journal, model: Model, draw: random.Random) -> None:
    """Compact lanes at random points, and prune them in slices."""
    while True:
        await trio.sleep(draw.random() * 2)
        lane = draw.choice(LANES)
        head = await journal.head(lane)
        if head.seq == head.base_seq:
            continue
        base = draw.randint(head.base_seq + 1, head.seq)
        going = await journal.read(lane, after=head.base_seq, limit=base - head.base_seq)
        for one in going:
            if one.type == NOTED.name:
                model.succeeded(lane, one.seq, [journal.registry.decode(one).text])
        try:
            await journal.change(bases=[Snapshot.of(lane, base, going[-1].hash, b"{}", 1)])
            await journal.backend.prune(lane, limit=draw.randint(1, 30))
        except (JournalUnavailable, NotCommittedError):
            model.answer("compaction given up")


async def check(store: MemoryStore, model: Model) -> None:
    """What is stored is what was told, and nothing else."""
    found: dict[tuple[Lane, int], str] = {}
    bases: dict[Lane, int] = {}
    bench = Bench(store=store)
    async with open_memory(store) as backend:
        for lane in LANES:
            head = await backend.head(lane)
            records = await backend.read(lane, limit=100_000)
            bases[lane] = head.base_seq
            assert [one.seq for one in records] == list(range(head.base_seq + 1, head.seq + 1))
            assert check_run(lane, head.base_hash, head.base_seq, records) == head.hash
            assert [one.at for one in records] == sorted(one.at for one in records)
            for one in records:
                assert one.payload is not None
                if one.type == NOTED.name:
                    found[lane, one.seq] = msgspec.json.decode(one.payload)["text"]
        commits = [one.commit for one in await backend.scan(limit=100_000)]
        assert commits == sorted(commits)
    kept = {place: text for place, text in model.durable.items() if place[1] > bases[place[0]]}
    lost = {place: text for place, text in kept.items() if found.get(place) != text}
    assert not lost, f"acknowledged and lost: {lost}"
    assert len(set(found.values())) == len(found), "something is there twice"
    assert not model.refused & set(found.values()), "something is there that was refused"
    there = set(found.values()) | set(model.durable.values())
    for batch in model.batches:
        kinds = {text in there for texts in batch.values() for text in texts}
        assert len(kinds) == 1, f"half a batch is there: {batch}"
    async with bench.journal() as journal:
        assert not journal.halted


class Life:
    """One opening: how it is configured, and how it ends."""

    def __init__(self, draw: random.Random, faults: RandomFaults, *, seed: str) -> None:
        self.draw = random.Random(seed)
        self.faults = faults
        self.ends = draw.choice(["when all is done", "closed", "killed"])
        self.after = draw.random() * 3
        self.options: dict[str, Any] = {
            "follower_records": draw.choice([1, 4, 1_024]),
            "commit_records": draw.choice([2, 512]),
            "anchor_records": draw.choice([10, 10_000]),
            "heads": draw.choice([2, 100]),
        }


async def live(
    bench: Bench, model: Model, callers: list[Caller], cursors: dict[Lane, list[int]], life: Life
) -> None:
    """One opening. Callers live outside of it: they see it close, or die."""
    with trio.CancelScope() as scope:
        try:
            async with (
                trio.open_nursery() as working,
                bench.journal(faults=life.faults, identity=SIGNER, **life.options) as journal,
                trio.open_nursery() as nursery,
            ):
                assert not journal.halted
                for lane, cursor in cursors.items():
                    nursery.start_soon(follow, journal, model, lane, cursor, life.draw)
                nursery.start_soon(compact, journal, model, life.draw)
                if life.ends == "when all is done":
                    async with trio.open_nursery() as awaited:
                        for caller in callers:
                            awaited.start_soon(caller.run, journal, 12)
                    await caught_up(journal, cursors)
                else:
                    for caller in callers:
                        working.start_soon(caller.run, journal, 12)
                    await trio.sleep(life.after)
                    if life.ends == "killed":
                        scope.cancel()
                        bench.store.kill()
                nursery.cancel_scope.cancel()
        except* JournalUnavailable:
            # What a killed process says on its way is nobody's business.
            assert life.ends == "killed"


@pytest.mark.parametrize("seed", SEEDS)
async def test_simulation(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """JRN-1, 4, 5, 6, 12, 15: every reply is true, whatever fails, over closings and kills."""
    print("seed", seed)
    draw = random.Random(seed)
    store, model = MemoryStore(ids=SeededIds(seed)), Model()
    bench = Bench(store=store)
    callers = [Caller(model, f"caller{n}", random.Random(f"{seed} {n}")) for n in range(8)]
    cursors = {lane: [0] for lane in LANES}
    for life in range(4):
        faults = RandomFaults(
            f"{seed} {life}",
            rate=draw.choice([0.0, 0.05, 0.3]),
            operations=("own", "commit", "recover"),
            longest_delay=0.02,
        )
        await live(bench, model, callers, cursors, Life(draw, faults, seed=f"{seed} {life}"))
    print(model.answers)
    await check(store, model)
    assert model.answers["done"] > 10
    assert "busy" not in model.answers
