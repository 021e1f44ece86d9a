"""A fetch is requested and concluded by events, and may be repeated after a crash (FETCH-1)."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing

from tests.protocols.lip.lanes import URI, Pages, Sent, learning, record, recorded
from web4.journal.backends.memory import MemoryStore
from web4.journal.errors import JournalUnavailable
from web4.journal.lane import KNOWLEDGE
from web4.protocols.lip.errors import FETCH_ERRORS, AddressRefused, FetchFailed, RobotsRefused, error_of
from web4.protocols.lip.fetch_events import AnswerConcluded, Asker, FetchConcluded, FetchRequested
from web4.protocols.lip.fetch_logic import (
    MAX_OPEN,
    MAX_OPEN_PER_PEER,
    RECENT,
    ConcludeAnswer,
    ConcludeFetch,
    FetchCommand,
    FetchLogic,
    RequestFetch,
)
from web4.testing import check_lane_logic

PEER = "b" * 64


def asked(name: str, peer: str | None = None) -> FetchRequested:
    asker = None
    if peer is not None:
        asker = Asker(peer=peer, msg_id=name, corr_id=None, reply_id=f"r{name}", evidence_id=f"e{name}")
    return FetchRequested(fetch_id=f"fetch:{name}", uri=URI, constraints=(), asker=asker)


def ended(name: str, code: str | None = None) -> FetchConcluded:
    found = None if code else record()
    return FetchConcluded(
        fetch_id=f"fetch:{name}",
        outcome="failed" if code else "ok",
        code=code,
        reason=code,
        field=None,
        record=found,
        hops=(),
        exceptions=(),
        body_blake3=None if found is None else found.body_blake3,
        claim=None,
    )


def test_the_logic_is_pure() -> None:
    """WEB-2, ACT-1: and every id is used once."""
    commands: list[FetchCommand] = [
        RequestFetch(request=asked("1"), at=1),
        RequestFetch(request=asked("1"), at=2),
        RequestFetch(request=asked("2", PEER), at=3),
        ConcludeFetch(concluded=ended("1"), at=4),
        ConcludeFetch(concluded=ended("1"), at=5),
        RequestFetch(request=asked("1"), at=6),
        ConcludeFetch(concluded=ended("2", "http_status"), at=7),
        RequestFetch(request=asked("2", PEER), at=8),
        ConcludeAnswer(concluded=AnswerConcluded(answer_id="fetch:2:answer", code=None), at=9),
        ConcludeAnswer(concluded=AnswerConcluded(answer_id="fetch:2:answer", code=None), at=10),
    ]
    state, events = check_lane_logic(FetchLogic(), commands)
    assert [type(one).__name__ for one in events] == [
        "FetchRequested",
        "FetchRequested",
        "FetchConcluded",
        "FetchConcluded",
        "AnswerRequested",
        "AnswerConcluded",
    ]
    assert (state.open, state.answering, state.outcomes) == ({}, {}, {"ok": 1, "failed": 1})


def test_the_bounds_of_the_lane() -> None:
    """One peer's fetches are bounded, those of all are, and what is remembered is."""
    logic = FetchLogic()
    state = logic.initial

    def ask(request: FetchRequested) -> str:
        nonlocal state
        decision = logic.decide(state, RequestFetch(request=request, at=1))
        for event in decision.events:
            state = logic.apply(state, event)
        return decision.reply

    replies = [ask(asked(f"p{number}", PEER)) for number in range(MAX_OPEN_PER_PEER + 1)]
    assert replies == ["requested"] * MAX_OPEN_PER_PEER + ["full"]
    # A fetch that is concluded and not yet answered still counts for its peer.
    for event in logic.decide(state, ConcludeFetch(concluded=ended("p0"), at=2)).events:
        state = logic.apply(state, event)
    assert ask(asked("again", PEER)) == "full"
    assert ask(asked("other", "c" * 64)) == "requested"
    replies = [ask(asked(f"own{number}")) for number in range(MAX_OPEN)]
    assert replies.count("requested") == MAX_OPEN - MAX_OPEN_PER_PEER
    for name in list(state.open):
        for event in logic.decide(
            state, ConcludeFetch(concluded=ended(name.removeprefix("fetch:")), at=3)
        ).events:
            state = logic.apply(state, event)
    for number in range(2 * RECENT):
        ask(asked(f"more{number}"))
        for event in logic.decide(state, ConcludeFetch(concluded=ended(f"more{number}"), at=4)).events:
            state = logic.apply(state, event)
    assert len(state.recent) == RECENT


def test_every_code_of_a_fetch_is_raised_again_as_it_was() -> None:
    """FETCH-10: what an event recorded is the same error for whoever waits."""
    for code, leaf in FETCH_ERRORS.items():
        error = error_of(code, "why", "uri")
        assert (type(error), error.code, error.field) == (leaf, code, "uri")
    assert type(error_of("of_a_later_version", "why")) is FetchFailed


async def test_a_fetch_is_durable_before_it_begins_and_before_it_is_told() -> None:
    """FETCH-1, FETCH-10: request, conclusion with the record, contents in blobs under their hashes."""
    async with learning(Pages()) as (lip, journal, _, said):
        found = await lip.fetch(URI, constraints=["no_personal_data"])
        requested, concluded = [journal.registry.decode(one) for one in await journal.read(KNOWLEDGE)]
        assert isinstance(requested, FetchRequested)
        assert requested.constraints == ("no_personal_data",)
        assert isinstance(concluded, FetchConcluded)
        assert concluded.record == found
        assert await journal.get_blob(found.body) == b"The lamp is green."
        assert found.body == f"b3:{found.body_blake3}"
        assert (await lip.text(found)).text == "The lamp is green."
        assert (await journal.get_blob(found.head)).startswith(b"HTTP/1.1 200")
        assert await lip.evidence(found.body_blake3) == await lip.recent() == [found]
        assert await journal.open_work() == []
        (told,) = said.of("fetch_concluded")
        assert (told["outcome"], told["body_blake3"]) == ("ok", found.body_blake3)
        assert len(said.of("fetch_requested")) == 1
        assert "green" not in str(said.events)  # contents appear as digests (OBS-5)


async def test_a_failure_is_a_conclusion() -> None:
    """With its code, for whoever waits and for whoever reads the lane."""
    pages = Pages(
        {URI: RobotsRefused("no", code="robots_disallowed"), "x": AddressRefused("a", code="uri_refused")}
    )
    pages.pages["y"] = ZeroDivisionError()
    async with learning(pages) as (lip, journal, _, said):
        with pytest.raises(RobotsRefused):
            await lip.fetch(URI)
        with pytest.raises(AddressRefused):
            await lip.fetch("x")
        with pytest.raises(FetchFailed) as failed:
            await lip.fetch("y")
        assert failed.value.code == "interrupted"
        events = [journal.registry.decode(one) for one in await journal.read(KNOWLEDGE)]
        ends = [(one.outcome, one.code) for one in events if isinstance(one, FetchConcluded)]
        assert ends == [
            ("refused", "robots_disallowed"),
            ("refused", "uri_refused"),
            ("failed", "interrupted"),
        ]
        assert [told["outcome"] for told in said.of("fetch_concluded")] == ["refused", "refused", "failed"]


async def test_the_last_ones_are_listed_newest_first() -> None:
    """What `web4 evidence` shows: what succeeded."""
    pages = Pages({f"http://{number}.org/": str(number).encode() for number in range(5)})
    pages.pages["http://2.org/"] = FetchFailed("no", code="http_status")
    async with learning(pages) as (lip, *_):
        for uri in pages.pages:
            with suppress(FetchFailed):
                await lip.fetch(uri)
        assert [one.uri for one in await lip.recent(3)] == ["http://4.org/", "http://3.org/", "http://1.org/"]
        assert len(await lip.recent()) == 4


async def test_an_id_is_fetched_once() -> None:
    """Asked for again with the same id, the lane tells how it ended."""
    pages = Pages()
    async with learning(pages) as (lip, *_):
        first = await lip.fetch(URI, fetch_id="same")
        assert await lip.fetch(URI, fetch_id="same") == first
        assert pages.asked == [("fetch:same", URI)]


async def test_a_fetch_that_a_crash_cut_off_is_made_again() -> None:
    """FETCH-1: requested, crashed before the conclusion, performed by the next boot, concluded once."""
    store, hanging = MemoryStore(), Pages({URI: trio.Event()})
    with trio.CancelScope() as crash:
        async with learning(hanging, store=store) as (lip, *_), trio.open_nursery() as nursery:
            nursery.start_soon(partial(lip.fetch, URI, fetch_id="one"))
            await trio.testing.wait_all_tasks_blocked()
            crash.cancel()  # with everything else: nothing is concluded
    assert hanging.asked == [("fetch:one", URI)]
    pages = Pages()
    async with learning(pages, store=store) as (lip, journal, actors, _):
        assert actors.summary.unfinished
        found = await lip.fetch(URI, fetch_id="one")
        assert pages.asked == [("fetch:one", URI)]
        names = [one.type for one in await journal.read(KNOWLEDGE)]
        assert names.count("lip.fetch_requested") == names.count("lip.fetch_concluded") == 1
        assert (await lip.text(found)).text == "The lamp is green."


async def test_replay_gives_the_same_state() -> None:
    """WEB-2: from the lane alone."""
    store = MemoryStore()
    async with learning(Pages(), store=store) as (lip, _, actors, _):
        await lip.fetch(URI, fetch_id="one")
        before = await actors.lane(KNOWLEDGE).state()
    async with learning(Pages(), store=store) as (_, _, actors, _):
        assert await actors.lane(KNOWLEDGE).state() == before


async def test_answers_are_queued_again_after_a_crash_under_the_same_ids() -> None:
    """OUT-1: the outbox was not there; after the restart the answers are queued, once."""
    from tests.protocols.router.hosts import delivery
    from web4.protocols.messages.lip import LipFetch

    store, sent = MemoryStore(), Sent()

    class Waits(Sent):
        async def __call__(self, *arguments: object, **given: object) -> str:
            await trio.sleep_forever()
            return ""

    message = delivery(LipFetch(query=URI, constraints=()), trust="trusted")
    with trio.CancelScope() as crash:
        async with learning(Pages(), Waits(), store=store) as (lip, journal, _, _):
            await lip.handle_fetch(message)
            await recorded(journal, "lip.answer_requested")
            crash.cancel()
            await trio.sleep_forever()
    pages = Pages()
    async with learning(pages, sent, store=store) as (lip, journal, _, _):
        await recorded(journal, "lip.answer_concluded")
        await lip.handle_fetch(message)  # it was not settled before the crash: it comes again (OUT-3)
        await trio.testing.wait_all_tasks_blocked()
        assert [type(one).__name__ for one in sent.payloads] == ["Reply", "LipEvidence"]
        assert pages.asked == []
        names = [one.type for one in await journal.read(KNOWLEDGE)]
        assert [one for one in names if one.startswith("lip.")] == [
            "lip.fetch_requested",
            "lip.fetch_concluded",
            "lip.answer_requested",
            "lip.answer_concluded",
        ]


async def test_an_answer_that_cannot_be_sent_is_concluded() -> None:
    """A peer that was blocked meanwhile is not answered; the lane says so and goes on."""
    from tests.protocols.router.hosts import delivery
    from web4.protocols.messages.lip import LipFetch

    sent = Sent(refuses=JournalUnavailable("no", code="suspended"))
    async with learning(Pages(), sent) as (lip, journal, _, _):
        await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=()), trust="trusted"))
        (last,) = await recorded(journal, "lip.answer_concluded")
        assert isinstance(last, AnswerConcluded)
        assert last.code is not None
        assert last.code.startswith("error:")
