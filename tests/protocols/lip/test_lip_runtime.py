"""LIP_FETCH for peers, evidence to peers, re-checks, and the whole way from a socket to a WARC file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import pytest
import trio
import trio.testing
from msgspec import UNSET
from warcio.archiveiterator import ArchiveIterator

from tests.actors.jobs import START, JobLane, Note, opened
from tests.protocols.cip.examples import sealed
from tests.protocols.lip.lanes import URI, Pages, Sent, learning, record, recorded
from tests.protocols.lip.web import answer, browsing, moved
from tests.protocols.router.hosts import ADA, IDS, Host, delivery
from web4.actors import open_lane_actors
from web4.actors.composite import Part, composite_lane
from web4.journal.lane import KNOWLEDGE
from web4.protocols.lip import LipRuntime
from web4.protocols.lip.errors import FetchFailed
from web4.protocols.lip.fetch_events import FETCH_EVENTS
from web4.protocols.lip.fetch_logic import MAX_OPEN_PER_PEER
from web4.protocols.lip.rechecking import AFTER_MS, AGAIN_MS, Recheck, supports
from web4.protocols.messages.cip import Reply
from web4.protocols.messages.lip import LipEvidence, LipFetch, SourceClaim, WebClaim
from web4.protocols.messages.vocabulary import type_of
from web4.protocols.router import ProtocolRouter
from web4.trust import TrustState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from web4.journal.journal import Journal
    from web4.protocols.messages.fields import Provenance

CORR = "3f0e9a52-6a1c-4c7e-9d0f-2f6b8a1d4e5c"


async def answered(journal: Journal, count: int = 1) -> None:
    await recorded(journal, "lip.answer_concluded", count)


async def test_a_peers_fetch_is_answered_by_reply_and_evidence() -> None:
    """FETCH-1: in its conversation, with the provenance; the text is there, under a name that says whose it is."""
    sent = Sent()
    async with learning(Pages(), sent, tier_of=lambda uri: "medium") as (lip, journal, _, said):
        message = delivery(LipFetch(query=URI, constraints=()), trust="trusted", corr_id=CORR)
        result = await lip.handle_fetch(message)
        assert (result.status, result.outputs) == ("handled", ())
        await answered(journal)
        (peer, reply, corr, about, _), (peer2, evidence, corr2, about2, _) = sent.messages
        assert (peer, corr, about) == (peer2, corr2, None) == (ADA, CORR, None)
        assert isinstance(reply, Reply)
        assert (reply.in_reply_to, reply.status) == (message.msg_id, "done")
        assert reply.content is not UNSET
        assert reply.content["untrusted_text"] == "The lamp is green."
        assert isinstance(evidence, LipEvidence)
        assert evidence.evidence[0].body_blake3 == reply.content["provenance"]["body_blake3"]
        assert len(evidence.claims) == 1
        assert evidence.claims[0].domain == "example.org"
        assert evidence.evidence[0].body_blake3 in evidence.claims[0].statement
        assert about2 == SourceClaim(
            uri=URI, trust_tier="medium", retrieved_at=evidence.evidence[0].retrieved_at
        )
        assert [told["peer"] for told in said.of("fetch_concluded")] == [ADA]


async def test_a_peers_fetch_that_fails_is_answered_by_reply_alone() -> None:
    sent, pages = Sent(), Pages({URI: FetchFailed("no", code="http_status")})
    async with learning(pages, sent) as (lip, journal, *_):
        message = delivery(LipFetch(query=URI, constraints=()), trust="trusted")
        await lip.handle_fetch(message)
        await answered(journal)
        assert sent.payloads == [Reply(in_reply_to=message.msg_id, status="failed", reason="http_status")]


async def test_what_is_no_uri_is_refused_and_said() -> None:
    """Section 12: text only if the node has a search tool. Nothing is fetched."""
    pages = Pages()
    async with learning(pages) as (lip, *_):
        for query in ("green lamps", "ftp://example.org/", "//example.org"):
            result = await lip.handle_fetch(delivery(LipFetch(query=query, constraints=()), trust="trusted"))
            assert result.status == "refused"
            (output,) = result.outputs
            assert isinstance(output.payload, Reply)
            assert (output.payload.status, output.payload.reason) == ("refused", "no_search_tool")
        for constraint in ("stealth", "domain:a b"):
            result = await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=(constraint,))))
            assert isinstance(result.outputs[0].payload, Reply)
            assert result.outputs[0].payload.reason == "unknown_constraint"
        result = await lip.handle_fetch(delivery(LipFetch(query="http://0x7f.1/", constraints=())))
        assert isinstance(result.outputs[0].payload, Reply)
        assert result.outputs[0].payload.reason == "uri_refused"
        for trust in set(get_args(TrustState)) - {"trusted"}:
            result = await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=()), trust=trust))
            assert (result.status, result.outputs) == ("refused", ())
        assert pages.asked == []


async def test_one_peer_cannot_have_everything_fetched() -> None:
    """A bound for each peer, and the word that it is to try later."""
    hanging = trio.Event()
    pages = Pages({URI: hanging})
    async with learning(pages, Sent()) as (lip, journal, *_):
        for _ in range(MAX_OPEN_PER_PEER):
            assert (await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=())))).status == "handled"
        result = await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=())))
        assert result.status == "deferred"
        assert isinstance(result.outputs[0].payload, Reply)
        assert result.outputs[0].payload.reason == "fetcher_busy"
        assert result.outputs[0].payload.retry_after_ms == 30_000
        hanging.set()
        await answered(journal, MAX_OPEN_PER_PEER)


async def test_it_stands_in_the_router_for_trusted_peers() -> None:
    """ROUTE-1, TRUST-6, ROUTE-4: the same message twice is one fetch and one answer."""
    sent, pages = Sent(), Pages()
    host = Host().trusts(ADA)
    async with learning(pages, sent) as (lip, journal, *_):
        router = ProtocolRouter(host, emit=host.emit)
        lip.register(router)
        message = delivery(LipFetch(query=URI, constraints=()))
        assert (await router.route(message)).status == "handled"
        assert (await router.route(message)).status == "duplicate"
        await answered(journal)
        assert len(pages.asked) == 1
        assert [type(one).__name__ for one in sent.payloads] == ["Reply", "LipEvidence"]


async def test_evidence_of_an_agents_own_reading() -> None:
    """Claims that an agent read out of a text, with the fetches they rest on."""
    sent = Sent()

    async def read(_: Any, text: Any) -> Sequence[WebClaim]:
        assert text.text == "The lamp is green."
        return [WebClaim(statement="The lamp is green.", domain="example.org")]

    async with learning(Pages(), sent, find_claims=read) as (lip, journal, *_):
        found = await lip.fetch(URI)
        claim = WebClaim(statement="Lamps are green.", domain="example.org")
        await lip.send_evidence("c" * 64, [claim], [found], 0.8, "read by hand")
        peer, payload, _, about, _ = sent.messages[0]
        assert peer == "c" * 64
        assert payload == LipEvidence(
            claims=(claim,), evidence=(found.provenance(),), confidence=0.8, extraction_notes="read by hand"
        )
        assert about.uri == URI
        with pytest.raises(ValueError, match="at least one"):
            await lip.send_evidence("c" * 64, [], [found], 0.8)
        await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=())))
        await answered(journal)
        assert sent.payloads[-1].claims[0].statement == "The lamp is green."


async def test_a_long_text_is_named_by_its_size_never_cut() -> None:
    sent = Sent()
    async with learning(Pages({URI: b"x" * 100_000}), sent) as (lip, journal, *_):
        await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=())))
        await answered(journal)
        assert sent.payloads[0].content["text_bytes"] == 100_000
        assert "untrusted_text" not in sent.payloads[0].content


async def test_a_reader_that_fails_costs_its_claims_only() -> None:
    """The peer gets its page and what the fetch proves."""
    sent = Sent()

    async def broken(*_: Any) -> Sequence[WebClaim]:
        raise ZeroDivisionError

    async with learning(Pages(), sent, find_claims=broken) as (lip, journal, _, said):
        await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=())))
        await answered(journal)
        assert [type(one).__name__ for one in sent.payloads] == ["Reply", "LipEvidence"]
        assert said.of("error")[0]["kind"] == "find_claims_failed"


async def test_every_answer_fits_its_envelope() -> None:
    """A text of control characters is six times as long as JSON (ENV-3)."""
    for body in (b"\x00" * 60_000, "\u00fc".encode() * 45_000, b'"' * 45_000, b"x" * 95_000):
        sent = Sent()
        async with learning(Pages({URI: body}), sent) as (lip, journal, *_):
            await lip.handle_fetch(delivery(LipFetch(query=URI, constraints=())))
            await answered(journal)
            for _, payload, _, about, _ in sent.messages:
                kind = type_of(payload).name
                given = {} if about is None else {"about": about}
                assert len(sealed(payload, msg_id=IDS.uuid4(), **given)) < 192 * 1024, kind


# --- LIP-6 ----------------------------------------------------------------------------------------------------


@dataclass
class Cites:
    bodies: tuple[str, ...]
    pages: tuple[Any, ...] = ()


@dataclass
class Proposal:
    cited: Cites


@dataclass
class Accepted:
    """As much of a claim of the ledger as LIP-6 needs."""

    key: str
    statement: str
    proposals: tuple[Proposal, ...]
    votes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ledger:
    """The part of a ledger that LIP-6 asks."""

    claims: list[Accepted] = field(default_factory=list)
    told: list[tuple[str, bool, str]] = field(default_factory=list)

    async def due_for_recheck(self, limit: int = 16) -> Sequence[Accepted]:
        return self.claims[:limit]

    async def rechecked(self, key: str, *, supported: bool, evidence: Sequence[Provenance] = ()) -> None:
        self.told.append((key, supported, evidence[0].body_blake3))
        self.claims = [one for one in self.claims if one.key != key]


def accepted(key: str, body: str, statement: str = "The lamp is green.") -> Accepted:
    return Accepted(key * 64, statement, (Proposal(Cites((body,))),))


def due(statement: str = "The lamp is green.", **fields: Any) -> Recheck:
    given = {
        "claim_key": "c" * 64,
        "uri": URI,
        "retrieved_at": record().retrieved_at,
        "body_blake3": "0" * 64,
    }
    return Recheck(statement=statement, **(given | fields))


def test_what_supports_a_claim() -> None:
    """The same body, the statement, or the excerpt; case, white space and Unicode form aside."""
    found = record()
    assert supports(due(body_blake3=found.body_blake3), found, "")
    assert supports(due(), found, "Well: the  LAMP\nis green. And so on")
    assert supports(due("Café"), found, "the cafe\u0301 is open")
    assert supports(due("gone", excerpt="is green"), found, "The lamp is green")
    assert not supports(due(), found, "The lamp is red.")
    assert not supports(due(""), found, "anything")


async def test_an_accepted_claim_is_fetched_again_after_a_day(autojump_clock: trio.testing.MockClock) -> None:
    """LIP-6: a body without support is told as that, one with support too; a source that is away is asked again."""
    pages = Pages()
    ledger = Ledger()
    async with learning(pages, ledger=ledger) as (lip, *_), trio.open_nursery() as nursery:
        nursery.start_soon(lip.run)
        first = await lip.fetch(URI)
        ledger.claims = [accepted("c", first.body_blake3), accepted("f", "0" * 64)]
        pages.pages[URI] = b"The lamp is red now."
        await trio.sleep(AFTER_MS / 1000 - 120)
        assert len(pages.asked) == 1  # it is not a day yet
        await trio.sleep(300)
        assert [one[:2] for one in ledger.told] == [("c" * 64, False)]
        assert ledger.told[0][2] != first.body_blake3
        assert [one.key[0] for one in ledger.claims] == ["f"]  # nobody here knows where that was

        pages.pages[URI] = b"And yet: the lamp IS green."
        ledger.claims = [accepted("d", first.body_blake3)]
        await trio.sleep(300)
        assert [one[:2] for one in ledger.told][1:] == [("d" * 64, True)]

        pages.pages[URI] = FetchFailed("away", code="connection_failed")
        ledger.claims = [accepted("e", first.body_blake3)]
        asked = len(pages.asked)
        await trio.sleep(AGAIN_MS / 1000 - 120)
        assert len(pages.asked) == asked + 1
        assert len(ledger.told) == 2
        pages.pages[URI] = b"The lamp is green."
        await trio.sleep(600)
        assert [one[:2] for one in ledger.told][2:] == [("e" * 64, True)]
        nursery.cancel_scope.cancel()


async def test_it_is_a_part_of_a_lane_with_others() -> None:
    """WEB-1: lane `knowledge` is the ledger's and the fetches'; each part has what is its own."""
    async with opened(events=FETCH_EVENTS) as journal:
        lip = LipRuntime(journal, Pages(), Sent(), clock=journal.clock)
        lane = composite_lane(lip.part, Part("jobs", JobLane(), (Note,)))
        async with open_lane_actors(journal, {"knowledge": lane}) as actors:
            lip.bind(actors)
            await actors.lane(KNOWLEDGE).ask(Note(1, START))
            found = await lip.fetch(URI)
            assert (await lip.text(found)).text == "The lamp is green."


# --- the whole way --------------------------------------------------------------------------------------------


async def test_from_a_socket_to_a_warc_file() -> None:
    """FETCH-1, FETCH-10: a real server, worker and lane; what an operator exports is what was there."""
    page = b"<html><head><title>Lamps</title></head><body><p>The lamp is green.</p></body></html>"
    routes = {
        "/robots.txt": answer(b"User-agent: *\nDisallow: /private\n"),
        "/": moved("/lamp"),
        "/lamp": answer(page, kind="text/html; charset=utf-8"),
    }
    async with (
        browsing(routes) as (fetcher, web),
        learning(fetcher, Sent()) as (lip, _, _, _),
    ):
        found = await lip.fetch(web.url(), constraints=["no_personal_data", "domain:site.test"])
        assert (found.title, found.excerpt) == ("Lamps", "The lamp is green.")
        assert [hop.robots for hop in found.hops] == ["allowed", "allowed"]
        assert (await lip.text(found)).origin.source == web.url("/lamp")
        file = io.BytesIO()
        await lip.export(await lip.evidence(found.body_blake3), file)
        file.seek(0)
        bodies = [one.content_stream().read() for one in ArchiveIterator(file) if one.rec_type == "response"]
        assert bodies == [page]
