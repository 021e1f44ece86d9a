"""Redirects: followed by hand, each checked like a new URI (FETCH-6)."""

from __future__ import annotations

import pytest

from tests.protocols.lip.authority import authority_file, serving_tls
from tests.protocols.lip.web import SITE, answer, browsing, moved
from web4.protocols.lip.errors import AddressRefused, FetchError, FetchFailed, RobotsRefused
from web4.protocols.lip.fetching import Trail


async def test_fetch_redirects_chain() -> None:
    """Five are followed, and every one is in the record, with its robots verdict."""
    routes = {f"/{step}": moved(f"/{step + 1}") for step in range(5)} | {"/5": answer(b"here")}
    async with browsing(routes) as (fetcher, web):
        fetched = await fetcher.fetch(web.url("/0"))
        assert fetched.text.text == "here"
        assert [hop.uri for hop in fetched.record.hops] == [web.url(f"/{step}") for step in range(6)]
        assert [hop.status for hop in fetched.record.hops] == [302] * 5 + [200]
        assert {hop.robots for hop in fetched.record.hops} == {"no_robots"}
        assert (fetched.record.uri, fetched.record.final_uri) == (web.url("/0"), web.url("/5"))


async def test_fetch_redirects_sixth_hop() -> None:
    """The sixth redirect is not followed; the way so far is known."""
    routes = {f"/{step}": moved(f"/{step + 1}", "308 Permanent") for step in range(7)}
    async with browsing(routes) as (fetcher, web):
        trail = Trail()
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch(web.url("/0"), trail=trail)
        assert failed.value.code == "too_many_redirects"
        assert len(trail.hops) == len(web.pages) == 6


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1:1/", "port_refused"),
        ("http://127.0.0.1/", "address_not_public"),
        ("http://[::1]/", "address_not_public"),
        ("http://169.254.169.254/latest/", "address_not_public"),
        ("http://inside.test/", "address_not_public"),
        ("//inside.test/", "address_not_public"),
        ("http://0x7f.1/", "uri_refused"),
        ("http://user@site.test/", "uri_refused"),
        ("http:\\\\127.0.0.1\\", "uri_refused"),
        ("file:///etc/passwd", "uri_refused"),
        ("javascript:alert(1)", "uri_refused"),
        ("/a\tb", "uri_refused"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "uri_refused"),
    ],
)
async def test_fetch_redirects(location: str, code: str) -> None:
    """What would be refused as the first URI is refused as the second, and nothing is dialled for it."""
    async with browsing({"/": moved(location)}) as (fetcher, web):
        web.names["inside.test"] = ["192.168.0.10"]
        with pytest.raises(AddressRefused) as refused:
            await fetcher.fetch(web.url())
        assert refused.value.code == code
        assert web.dialed == ["127.0.0.1"] * 2  # robots.txt and the page that redirects


async def test_fetch_redirects_robots_included() -> None:
    """The robots.txt of the host that a redirect leads to is asked before that host's page."""
    routes = {
        "one.test/": moved("http://two.test:{port}/secret"),
        "two.test/robots.txt": answer(b"User-agent: *\nDisallow: /secret\n"),
        "two.test/secret": answer(b"secret"),
    }
    async with browsing(routes, hosts=("one.test", "two.test")) as (fetcher, web):
        web.routes["one.test/"] = moved(web.url("/secret", "two.test"))
        with pytest.raises(RobotsRefused) as refused:
            await fetcher.fetch(web.url("/", "one.test"))
        assert refused.value.code == "robots_disallowed"
        assert web.requests == ["one.test/robots.txt", "one.test/", "two.test/robots.txt"]


@pytest.mark.parametrize("status", ["301 M", "302 F", "303 S", "307 T", "308 P"])
async def test_fetch_redirects_of_every_kind(status: str) -> None:
    async with browsing({"/a/b": moved("../c?x=1#top", status), "/c": answer(b"c")}) as (fetcher, web):
        fetched = await fetcher.fetch(web.url("/a/b"))
        assert fetched.record.final_uri == web.url("/c?x=1")


@pytest.mark.parametrize(
    "status",
    [
        "201 Made",
        "206 Part",
        "203 Else",
        "300 Choices",
        "304 Same",
        "404 None",
        "410 Gone",
        "500 Oops",
        "302 Nowhere",
    ],
)
async def test_an_answer_that_is_no_success_is_no_evidence(status: str) -> None:
    """FETCH-10: a page that is not there says nothing; a redirect without a place neither."""
    async with browsing({"/": answer(b"words", status=status)}) as (fetcher, web):
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch(web.url())
        assert failed.value.code == "http_status"


async def test_a_redirect_to_itself_ends() -> None:
    async with browsing({"/": moved("/")}) as (fetcher, web):
        with pytest.raises(FetchError):
            await fetcher.fetch(web.url())
        assert len(web.pages) == 6


# --- https ----------------------------------------------------------------------------------------------------


async def test_fetch_redirects_never_from_https_to_http() -> None:
    """FETCH-6."""
    async with serving_tls({"/": answer(b"safe"), "/down": moved("http://site.test/")}, SITE) as (
        fetcher,
        web,
    ):
        fetched = await fetcher.fetch(f"https://{SITE}:{web.port}/")
        assert fetched.text.text == "safe"
        with pytest.raises(AddressRefused) as refused:
            await fetcher.fetch(f"https://{SITE}:{web.port}/down")
        assert refused.value.code == "downgrade_refused"


async def test_tls_is_verified() -> None:
    """FETCH-8: another name's certificate, or one that nobody vouches for, and nothing is asked."""
    async with serving_tls({"/": answer(b"x")}, "other.test") as (fetcher, web):
        web.names[SITE] = ["127.0.0.1"]
        with pytest.raises(RobotsRefused):
            await fetcher.fetch(f"https://{SITE}:{web.port}/")
        assert web.requests == []
    async with serving_tls({"/": answer(b"x")}, SITE, trusted=False) as (fetcher, web):
        with pytest.raises(RobotsRefused):
            await fetcher.fetch(f"https://{SITE}:{web.port}/")
        assert web.requests == []


def test_the_authority_file_is_one() -> None:
    with authority_file() as (_, path):
        assert "BEGIN CERTIFICATE" in path.read_text()
