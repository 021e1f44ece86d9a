"""Checks of how a backend is read: pages, the order of history, references, unfinished work (JRN-6, JRN-13, JRN-20)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from web4.journal.lane import SERVER, Lane
from web4.journal.record import OpenWork, Work
from web4.testing.journal.arena import reopened
from web4.testing.journal.scribe import Draft, Scribe, require, same_records
from web4.testing.journal.storing import ONE, THREE, TWO, fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.journal.backends.backend import Backend
    from web4.journal.record import Phase, Record
    from web4.testing.journal.arena import Arena
    from web4.testing.journal.scribe import Written

LANES = [SERVER, ONE, TWO, THREE]


class Pages(Protocol):
    """One of a backend's ways to read: `read`, `scan` or `find` with its first argument given."""

    async def __call__(
        self, *, after: int = 0, limit: int = 500, reverse: bool = False, before: int | None = None
    ) -> list[Record]:
        """A page."""
        ...


async def _fill(arena: Arena, scribe: Scribe, rounds: int, refs: tuple[tuple[str, str], ...] = ()) -> None:
    for number in range(rounds):
        chosen = arena.random.sample(LANES, arena.random.randint(1, len(LANES)))
        events: dict[Lane, Any] = {}
        for lane in chosen:
            some = tuple(sorted(arena.random.sample(refs, arena.random.randint(0, len(refs)))))
            events[lane] = [fact(number)._replace(refs=some)] * arena.random.randint(1, 3)
        await scribe.write(events)


async def _check_pages(
    arena: Arena, pages: Pages, key: Callable[[Record], int], expected: list[Written], what: str
) -> None:
    """Forwards, backwards, in pages of any size, and between any two places."""
    everything = await pages(limit=10_000)
    same_records(everything, expected, what=what)
    keys = [key(one) for one in everything]
    require(keys == sorted(set(keys)), f"{what}: places that do not ascend")
    size = arena.random.randint(1, 7)
    found: list[Record] = []
    while page := await pages(after=key(found[-1]) if found else 0, limit=size):
        require(len(page) <= size, f"{what}: a page is longer than its limit")
        found += page
    require(found == everything, f"{what}: pages of {size} give other records")
    found = []
    while page := await pages(before=key(found[-1]) if found else None, limit=size, reverse=True):
        require(len(page) <= size, f"{what}: a page is longer than its limit")
        found += page
    require(found == everything[::-1], f"{what}: backwards, pages of {size} give other records")
    for _ in range(10):
        low, high = sorted((arena.random.choice([0, *keys]), arena.random.choice([*keys, 10**9])))
        between = [one for one in everything if low < key(one) < high]
        require(await pages(after=low, before=high) == between, f"{what}: other records between two places")
        backwards = await pages(after=low, before=high, reverse=True)
        require(backwards == between[::-1], f"{what}: backwards, other records between two places")


async def reads_in_pages(arena: Arena) -> None:
    """JRN-6a, JRN-20a: lanes by number, history by (commit, lane, number), both ways, from any place."""
    async with arena.store("lanes and history") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            await _fill(arena, scribe, arena.rounds)
            await _read_everything(arena, backend, scribe)
        async with reopened(store, scribe) as backend:
            await _fill(arena, scribe, 3)
            await _read_everything(arena, backend, scribe)


async def _read_everything(arena: Arena, backend: Backend, scribe: Scribe) -> None:
    for lane in LANES:

        async def of_lane(lane: Lane = lane, **arguments: Any) -> list[Record]:
            return await backend.read(lane, **arguments)

        await _check_pages(arena, of_lane, lambda one: one.seq, scribe.expected(lane), str(lane))
    await _check_pages(arena, backend.scan, lambda one: one.position, scribe.expected(), "history")
    history = await backend.scan(limit=10_000)
    order = [(one.commit, str(one.lane), one.seq) for one in history]
    require(order == sorted(order), "history is not in the order of (commit, lane, number)")


async def pages_while_writing(arena: Arena) -> None:
    """JRN-20b: paging through history gives each old record exactly once, whatever is written meanwhile."""
    for reverse in (False, True):
        async with arena.scribe(f"paging {'backwards' if reverse else 'forwards'}") as (_, scribe):
            backend = scribe.backend
            await _fill(arena, scribe, arena.rounds)
            old = scribe.expected()
            found: list[Record] = []

            async def page_through(backend: Backend, *, reverse: bool, found: list[Record]) -> None:
                place: dict[str, int] = {}
                while page := await backend.scan(limit=5, reverse=reverse, **place):
                    found += page
                    place = {"before" if reverse else "after": page[-1].position}
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(page_through, backend, reverse=reverse, found=found))
                for _ in range(5):
                    await _fill(arena, scribe, 2)
                    await trio.lowlevel.checkpoint()
            if reverse:
                found.reverse()
            places = [(one.lane, one.seq) for one in found]
            require(len(places) == len(set(places)), "a record came twice")
            known = {(one.sealed.lane, one.sealed.seq) for one in old}
            same_records([one for one in found if (one.lane, one.seq) in known], old, what="history")


async def finds_by_reference(arena: Arena) -> None:
    """JRN-20c: records by one of their references, each pair for itself, in the order of history."""
    refs = (("command", "c1"), ("command", "c2"), ("comman", "dc1"), ("effect", "c1"), ("session", "C1"))
    async with arena.store("references") as store:
        async with store.open() as backend:
            scribe = Scribe(backend)
            await _fill(arena, scribe, arena.rounds, refs)
        async with reopened(store, scribe) as backend:
            await _fill(arena, scribe, 3, refs)
            for ref in refs:
                expected = [one for one in scribe.expected() if ref in one.sealed.refs]

                async def of_ref(ref: tuple[str, str] = ref, **arguments: Any) -> list[Record]:
                    return await backend.find(ref, **arguments)

                await _check_pages(arena, of_ref, lambda one: one.position, expected, f"references to {ref}")
            for ref in (("command", "c"), ("Command", "c1"), ("command", "%"), ("", "")):
                require(await backend.find(ref) == [], f"records refer to {ref}, which none names")


class _WorkModel:
    """Unfinished work as a dictionary has it."""

    def __init__(self) -> None:
        self.open: dict[tuple[Lane, str, str], OpenWork] = {}

    def note(self, lane: Lane, seq: int, work: Work) -> None:
        kind = "effect" if work.phase in {"request", "conclusion"} else "command"
        key = (lane, kind, work.subject)
        if work.phase in {"begin", "request"}:
            self.open[key] = OpenWork(
                lane,
                seq,
                kind,  # type: ignore[arg-type]  # one of the two above
                work.subject,
                started=False,
                command=work.command,
                idempotent=work.idempotent,
            )
        elif work.phase == "start" and key in self.open:
            self.open[key] = self.open[key]._replace(started=True)
        elif work.phase in {"end", "conclusion"}:
            self.open.pop(key, None)

    def of(self, lane: Lane | None = None) -> list[OpenWork]:
        found = [one for one in self.open.values() if lane in {None, one.lane}]
        return sorted(found, key=lambda one: (one.lane, one.seq))


async def keeps_unfinished_work(arena: Arena) -> None:
    """JRN-13: what began and did not end is known at every boot, by lane and number."""
    async with arena.store("commands and effects") as store:
        scribe, model, number = Scribe(None), _WorkModel(), 0  # type: ignore[arg-type]  # opened below
        for _ in range(3):
            async with reopened(store, scribe) as backend:
                await scribe.own(*LANES)
                await _check_work(arena, backend, model)
                for _ in range(arena.rounds):
                    number += 1
                    await _some_work(arena, scribe, model, number)
                await _check_work(arena, backend, model)
        require(len(model.open) > 3, "the case is too small to show anything")


async def _some_work(arena: Arena, scribe: Scribe, model: _WorkModel, number: int) -> None:
    """A batch in which work begins, starts, or ends; sometimes that of one lane while another has the same name."""
    events: dict[Lane, list[Draft]] = {}
    for lane in arena.random.sample(LANES, 2):
        mine = model.of(lane)
        works = [
            _begins(arena, f"s{number}"),
            *(_goes_on(arena, arena.random.choice(mine)) for _ in mine[:1]),
            Work("end", "nobody"),
        ]
        # One subject may move in one batch more than once, and a command's is not an effect's.
        if arena.random.random() < 0.3:
            works += [Work("begin", f"u{number}"), Work("request", f"u{number}"), Work("end", f"u{number}")]
            works += [Work("begin", f"t{number}"), Work("start", f"t{number}"), Work("end", f"t{number}")]
        events[lane] = [Draft(work=work) for work in works]
        for index, work in enumerate(works):
            model.note(lane, scribe.heads[lane].seq + 1 + index, work)
    await scribe.write(dict(events))


def _begins(arena: Arena, subject: str) -> Work:
    if arena.random.random() < 0.5:
        return Work("begin", subject)
    command = arena.random.choice([None, "c1", subject])
    return Work("request", subject, command, idempotent=arena.random.random() < 0.5)


def _goes_on(arena: Arena, one: OpenWork) -> Work:
    phases: list[Phase] = ["start", "end"] if one.kind == "command" else ["conclusion"]
    return Work(arena.random.choice(phases), one.subject)


async def _check_work(arena: Arena, backend: Backend, model: _WorkModel) -> None:
    for lane in (None, *LANES, Lane("human", "idle")):
        wanted = model.of(lane)
        size = arena.random.randint(1, 5)
        found: list[OpenWork] = []
        while page := await backend.open_work(lane, after=found[-1] if found else None, limit=size):
            require(len(page) <= size, "a page of unfinished work is longer than its limit")
            found += page
        require(found == wanted, f"unfinished work of {lane}: {found[:3]}…, not {wanted[:3]}…")


async def tells_its_figures(arena: Arena) -> None:
    """JRN-24d: the figures of the store are JSON values."""
    async with arena.scribe("figures") as (_, scribe):
        await scribe.write({ONE: [fact()]})
        figures = await scribe.backend.stats()
        msgspec.json.encode(dict(figures))
        require({"bytes", "records", "lanes"} <= set(figures), f"figures are {', '.join(figures)}")
        require(figures["lanes"] == 1 and figures["records"] == 1, "figures of one record are others")


READING: dict[str, Callable[[Arena], Awaitable[None]]] = {
    "reads in pages": reads_in_pages,
    "pages while writing": pages_while_writing,
    "finds by reference": finds_by_reference,
    "keeps unfinished work": keeps_unfinished_work,
    "tells its figures": tells_its_figures,
}
