"""A LipRuntime on a lane of its own, with peers that write down what they are sent."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from tests.actors.jobs import Said, opened
from web4 import _core
from web4.actors import ActorOptions, open_lane_actors
from web4.foundation.clock import format_timestamp
from web4.foundation.ids import SeededIds
from web4.journal.lane import KNOWLEDGE
from web4.protocols.lip import LipRuntime
from web4.protocols.lip.errors import FetchError
from web4.protocols.lip.fetch_events import FETCH_EVENTS
from web4.protocols.lip.fetching import Fetched, FetchRecord, Hop, Trail
from web4.testing.clocks import TrioClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from web4.actors import LaneActors
    from web4.journal.backends.memory import MemoryStore
    from web4.journal.journal import Journal

Answer = bytes | Exception | trio.Event
URI = "https://example.org/lamp"


def record(
    uri: str = URI, *, body: bytes = b"The lamp is green.", at_ms: int = 1_700_000_000_000
) -> FetchRecord:
    at = format_timestamp(at_ms)
    hop = Hop(uri=uri, address="192.0.2.1", status=200, robots="allowed", crawl_delay=0.0, at=at)
    return FetchRecord(
        fetch_id="",
        uri=uri,
        final_uri=uri,
        retrieved_at=at,
        status=200,
        content_type="text/plain",
        charset="",
        body_blake3=_core.blake3(body).hex(),
        body_bytes=len(body),
        body="",
        text="",
        head="",
        title="Lamp",
        excerpt=body.decode()[:20],
        hops=(hop,),
        constraints=(),
        exceptions=(),
    )


@dataclass
class Pages:
    """Stands where a fetcher does, and gives what a test has by URI: a body, an error, or something to wait for."""

    pages: dict[str, Any] = field(default_factory=lambda: {URI: b"The lamp is green."})
    asked: list[tuple[str, str]] = field(default_factory=list)
    clock: TrioClock = field(default_factory=TrioClock)

    async def fetch(
        self, uri: str, constraints: Sequence[str] = (), *, fetch_id: str = "", trail: Trail | None = None
    ) -> Fetched:
        self.asked.append((fetch_id, uri))
        page = self.pages[uri]
        if isinstance(page, trio.Event):
            await page.wait()
            page = b"at last"
        await trio.lowlevel.checkpoint()
        if isinstance(page, Exception):
            raise page.again() if isinstance(page, FetchError) else page
        found = record(uri, body=page, at_ms=self.clock.wall_ms())
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        return Fetched(record=found, body=page, text=found.untrusted(page.decode()), head=head)


@dataclass
class Sent:
    """The port to peers: like the outbox, it takes each `msg_id` once."""

    messages: list[tuple[str, Any, str | None, Any, str]] = field(default_factory=list)
    refuses: Exception | None = None
    ids: SeededIds = field(default_factory=lambda: SeededIds("sent"))

    async def __call__(
        self,
        peer: str,
        payload: Any,
        *,
        corr_id: str | None = None,
        about: Any = None,
        msg_id: str | None = None,
    ) -> str:
        await trio.lowlevel.checkpoint()
        if self.refuses is not None:
            raise self.refuses
        msg_id = msg_id or self.ids.uuid4()
        if all(msg_id != one[-1] for one in self.messages):
            self.messages.append((peer, payload, corr_id, about, msg_id))
        return msg_id

    @property
    def payloads(self) -> list[Any]:
        return [payload for _, payload, *_ in self.messages]


async def recorded(journal: Journal, kind: str, count: int = 1) -> list[Any]:
    """Wait until the lane has so many events of a kind; those."""
    found: list[Any] = []
    follower = journal.follow(KNOWLEDGE)
    with trio.fail_after(60):
        while len(found) < count:
            record = await anext(follower)
            if record.type == kind:
                found.append(journal.registry.decode(record))
    follower.close()
    return found


@asynccontextmanager
async def learning(
    fetcher: Any, sent: Sent | None = None, *, store: MemoryStore | None = None, **given: Any
) -> AsyncIterator[tuple[LipRuntime, Journal, LaneActors, Said]]:
    said = Said()
    async with opened(store, events=FETCH_EVENTS) as journal:
        lip = LipRuntime(
            journal, fetcher, sent or Sent(), clock=journal.clock, ids=SeededIds("lip"), emit=said, **given
        )
        options = ActorOptions(stop_seconds=0.2)
        async with open_lane_actors(journal, {"knowledge": lip.definition}, options=options) as actors:
            lip.bind(actors)
            yield lip, journal, actors, said
