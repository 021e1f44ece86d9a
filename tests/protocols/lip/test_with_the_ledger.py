"""The ledger and the fetches on one lane: from a page to an accepted claim, and back when the page changes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from tests.actors.jobs import opened
from tests.protocols.lip.lanes import URI, Pages, Sent
from web4.actors import ActorOptions, open_lane_actors
from web4.journal.backends.memory import MemoryStore
from web4.protocols.knowledge.definition import KNOWLEDGE_EVENTS
from web4.protocols.knowledge.runtime import KnowledgeRuntime
from web4.protocols.lip import LipRuntime
from web4.protocols.lip.answering import source_of
from web4.protocols.lip.fetch_events import FETCH_EVENTS
from web4.protocols.lip.knowledge_lane import knowledge_lane
from web4.protocols.messages.lip import LipEvidence, WebClaim
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from web4.protocols.lip.fetching import FetchRecord

NODE = "a" * 64


@asynccontextmanager
async def node(store: MemoryStore, pages: Pages) -> AsyncIterator[tuple[KnowledgeRuntime, LipRuntime]]:
    async with opened(store, events=(*KNOWLEDGE_EVENTS, *FETCH_EVENTS)) as journal:

        async def no_trust(peer: str, command: Any, *, cause: str | None = None) -> Any:
            raise AssertionError("nobody's trust changes here")

        sent = Sent()
        knowledge = KnowledgeRuntime(
            NODE, trust=no_trust, send=sent, view=TrustRegistry(), clock=journal.clock
        )
        lip = LipRuntime(journal, pages, sent, ledger=knowledge, clock=journal.clock)
        lane = knowledge_lane(knowledge, lip)
        options = ActorOptions(stop_seconds=0.2)
        async with open_lane_actors(journal, {"knowledge": lane}, options=options) as actors:
            knowledge.bind(actors)
            lip.bind(actors)
            yield knowledge, lip


def evidence(record: FetchRecord) -> LipEvidence:
    claim = WebClaim(statement="The lamp is green.", domain="lamps")
    return LipEvidence(
        claims=(claim,), evidence=(record.provenance(),), confidence=0.9, extraction_notes="read"
    )


async def test_an_accepted_claim_is_disputed_when_its_page_changes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """LIP-3, LIP-6, over a restart: accepted on a source a human vouched for; a day later its page says otherwise."""
    store, pages = MemoryStore(), Pages()
    async with node(store, pages) as (knowledge, lip):
        record = await lip.fetch(URI)
        await knowledge.set_tier("example.org", "medium", "ada", "I know them")
        about = source_of(record, lambda uri: "medium")
        (claim,) = await knowledge.evidence(evidence(record), about=about)
        assert (await knowledge.claim(claim.key)).status == "accepted"
    pages.pages[URI] = b"The lamp was never anything but red."
    async with node(store, pages) as (knowledge, lip), trio.open_nursery() as nursery:
        assert (await knowledge.claim(claim.key)).status == "accepted"
        nursery.start_soon(lip.run)
        await trio.sleep(24 * 3600 + 120)  # the clock of a test begins anew with its journal
        found = await knowledge.claim(claim.key)
        assert (found.status, len(pages.asked)) == ("disputed", 2)
        assert pages.asked[1][0].startswith(f"fetch:recheck:{claim.key}:")
        nursery.cancel_scope.cancel()


async def test_an_accepted_claim_stays_when_its_page_does(autojump_clock: trio.testing.MockClock) -> None:
    """LIP-6."""
    store, pages = MemoryStore(), Pages()
    async with node(store, pages) as (knowledge, lip), trio.open_nursery() as nursery:
        nursery.start_soon(lip.run)
        record = await lip.fetch(URI)
        await knowledge.set_tier("example.org", "high", "ada", "I know them")
        (claim,) = await knowledge.evidence(evidence(record))
        pages.pages[URI] = b"News: the lamp is green. Still."
        await trio.sleep(25 * 3600)
        assert len(pages.asked) == 2
        assert (await knowledge.claim(claim.key)).status == "accepted"
        nursery.cancel_scope.cancel()
