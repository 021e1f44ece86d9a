"""robots.txt is asked first, and kept to (FETCH-7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from tests.protocols.lip.web import SITE, answer, browsing, moved
from web4.protocols.lip.errors import AddressRefused, FetchFailed, RobotsRefused
from web4.protocols.lip.fetching.options import FetchOptions
from web4.protocols.lip.fetching.pacing import Pacing

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

PAGES = {
    "/": answer(b"home"),
    "/open": answer(b"open"),
    "/shut": answer(b"shut"),
    "/shut/but": answer(b"but"),
}

RULES = b"""
# Rules of a test
User-agent: googlebot
Disallow: /

User-agent: web
Disallow: /

User-agent: WEB4
Disallow: /shut
Allow: /shut/but
Disallow: /*.cgi$

User-agent: *
Disallow: /
"""


async def verdicts(rules: bytes, *paths: str) -> list[bool]:
    routes = dict(PAGES) | {"/robots.txt": answer(rules)} | {path: answer(b"x") for path in paths}
    found = []
    async with browsing(routes) as (fetcher, web):
        for path in paths:
            try:
                await fetcher.fetch(web.url(path))
            except RobotsRefused:
                found.append(False)
            else:
                found.append(True)
        asked = [path for path, allowed in zip(paths, found, strict=True) if allowed]
        assert web.pages == [f"{SITE}{path}" for path in asked]
        assert web.requests.count(f"{SITE}/robots.txt") == 1  # remembered
    return found


async def test_fetch_robots() -> None:
    """RFC 9309: the group of the whole product token, whatever its case; the longest match; a refusal is not asked."""
    assert await verdicts(RULES, "/open", "/shut", "/shut/but", "/a.cgi", "/a.cgix") == [
        True,
        False,
        True,
        False,
        True,
    ]


async def test_fetch_robots_is_not_evaded_by_spelling() -> None:
    """Dots and needless escapes are gone before the rules are asked."""
    async with browsing(PAGES | {"/robots.txt": answer(RULES)}) as (fetcher, web):
        for path in ("/open/../shut", "/%73hut", "/open/%2e%2e/shut", "/./shut", "/open/..//../shut?x"):
            with pytest.raises(RobotsRefused):
                await fetcher.fetch(web.url(path))
        assert web.pages == []


async def test_fetch_robots_other_groups() -> None:
    """The star's group where none is ours; a group for a longer or shorter name is not ours; two of ours are one."""
    assert await verdicts(b"User-agent: *\nDisallow: /shut", "/shut", "/open") == [False, True]
    assert await verdicts(b"User-agent: web44\nUser-agent: we\nDisallow: /", "/open") == [True]
    two = b"User-agent: web4\nDisallow: /shut\n\nUser-agent: other\nDisallow: /\n\nUser-agent: web4\nDisallow: /open"
    assert await verdicts(two, "/shut", "/open", "/") == [False, False, True]
    assert await verdicts(b"User-agent: web4/2.0 # us\r\nDisallow: /shut\r\n", "/shut", "/open") == [
        False,
        True,
    ]
    assert await verdicts(b"\xef\xbb\xbfUser-agent: *\nDisallow: /shut", "/shut") == [False]
    assert await verdicts(b"\xff\xfe\x00 no robots at all <html>", "/open") == [True]
    assert await verdicts(b"", "/open") == [True]


@pytest.mark.parametrize("status", ["400 Bad", "401 No", "403 No", "404 None", "410 Gone", "451 Law"])
async def test_fetch_robots_client_errors_allow(status: str) -> None:
    async with browsing(PAGES | {"/robots.txt": answer(b"Disallow: /", status=status)}) as (fetcher, web):
        fetched = await fetcher.fetch(web.url())
        assert fetched.record.hops[0].robots == "no_robots"


@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "599 What", "304 Same"])
async def test_fetch_robots_503(status: str) -> None:
    """5xx and what is no answer disallow; that is remembered, but not for long."""
    async with browsing(PAGES | {"/robots.txt": answer(status=status)}) as (fetcher, web):
        for _ in range(2):
            with pytest.raises(RobotsRefused) as refused:
                await fetcher.fetch(web.url())
            assert refused.value.code == "robots_unreachable"
        assert web.requests == [f"{SITE}/robots.txt"]
    async with browsing(PAGES | {"/robots.txt": answer(status=status)}, robots_unreachable_seconds=0.001) as (
        fetcher,
        web,
    ):
        with pytest.raises(RobotsRefused):
            await fetcher.fetch(web.url())
        web.routes["/robots.txt"] = answer(b"")
        await trio.sleep(0.01)
        assert (await fetcher.fetch(web.url())).text.text == "home"


async def test_fetch_robots_timeout_and_unreachable() -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with browsing(PAGES | {"/robots.txt": silent}, total_seconds=0.2) as (fetcher, web):
        with pytest.raises(RobotsRefused) as refused:
            await fetcher.fetch(web.url())
        assert refused.value.code == "robots_unreachable"
        assert web.pages == []

    async def gone(stream: trio.SocketStream) -> None:
        await trio.aclose_forcefully(stream)

    async with browsing(PAGES | {"/robots.txt": gone}) as (fetcher, web):
        with pytest.raises(RobotsRefused):
            await fetcher.fetch(web.url())


async def test_fetch_robots_oversize() -> None:
    """More than 500 KiB is not read on, and what it might say further down counts as a refusal."""
    exact = b"#" * (500 * 1024)
    async with browsing(PAGES | {"/robots.txt": answer(exact)}) as (fetcher, web):
        assert (await fetcher.fetch(web.url())).text.text == "home"
    async with browsing(PAGES | {"/robots.txt": answer(exact + b"#")}) as (fetcher, web):
        with pytest.raises(RobotsRefused) as refused:
            await fetcher.fetch(web.url())
        assert refused.value.code == "robots_too_large"


async def test_fetch_robots_redirects_are_checked() -> None:
    """Under the same rules: a private place ends the fetch, a chain without end is unreachable."""
    async with browsing(
        PAGES | {"/robots.txt": moved("/r"), "/r": answer(b"User-agent: *\nDisallow: /")}
    ) as (
        fetcher,
        web,
    ):
        with pytest.raises(RobotsRefused) as refused:
            await fetcher.fetch(web.url())
        assert refused.value.code == "robots_disallowed"
    async with browsing(PAGES | {"/robots.txt": moved("http://10.0.0.1/robots.txt")}) as (fetcher, web):
        with pytest.raises(AddressRefused):
            await fetcher.fetch(web.url())
        assert web.dialed == ["127.0.0.1"]
    async with browsing(PAGES | {"/robots.txt": moved("/robots.txt")}) as (fetcher, web):
        with pytest.raises(RobotsRefused) as refused:
            await fetcher.fetch(web.url())
        assert refused.value.code == "robots_unreachable"
        assert len(web.requests) == 6


class Noting:
    """Turns as `Pacing` gives them, and the pauses that they were asked for with."""

    def __init__(self, pacing: Pacing) -> None:
        self.pacing = pacing
        self.delays: list[float] = []

    def turn(self, host: str, delay_seconds: float = 0.0) -> AbstractAsyncContextManager[None]:
        self.delays.append(delay_seconds)
        return self.pacing.turn(host, delay_seconds)


async def test_fetch_robots_delay() -> None:
    """crawl-delay up to 30 s is kept, a longer one refuses."""
    async with browsing(PAGES | {"/robots.txt": answer(b"User-agent: *\nCrawl-delay: 0.05")}) as (
        fetcher,
        web,
    ):
        noting = Noting(fetcher._asking.pacing)
        object.__setattr__(fetcher._asking, "pacing", noting)
        fetched = await fetcher.fetch(web.url())
        assert fetched.record.hops[0].crawl_delay == 0.05
        assert noting.delays == [0.0, 0.05], "of robots.txt, which nobody knew yet, and of the page"
    for rules in (
        b"User-agent: *\nCrawl-delay: 31",
        b"User-agent: web4\nCrawl-delay: 1e9",
        b"User-agent: *\nRequest-rate: 1/1m",
    ):
        async with browsing(PAGES | {"/robots.txt": answer(rules)}) as (fetcher, web):
            with pytest.raises(RobotsRefused) as refused:
                await fetcher.fetch(web.url())
            assert refused.value.code == "crawl_delay"
            assert web.pages == []


async def test_fetch_robots_patterns_cannot_hang_us() -> None:
    """A pattern made to be slow costs a worker its life, and the node two seconds at most."""
    pattern = b"/" + b"*a" * 200 + b"*b$"
    async with browsing(PAGES | {"/robots.txt": answer(b"User-agent: *\nDisallow: " + pattern)}) as (
        fetcher,
        web,
    ):
        with pytest.raises((RobotsRefused, FetchFailed)) as refused:
            await fetcher.fetch(web.url("/" + "a" * 1900))
        assert refused.value.code in {"robots_unreachable", "http_status"}
        assert (await fetcher.fetch(web.url())).text.text == "home"


async def test_the_robots_memory_is_bounded() -> None:
    hosts = tuple(f"h{number}.test" for number in range(6))
    async with browsing(PAGES, hosts=hosts, robots_cached=3) as (fetcher, web):
        for host in hosts:
            await fetcher.fetch(web.url("/", host))
        assert len(fetcher._robots) == 3
        assert [fields["kind"] for name, fields in web.events if name == "metrics"] == [
            "robots_cache_full"
        ] * 3


async def test_the_robots_memory_is_bounded_in_bytes() -> None:
    hosts = tuple(f"h{number}.test" for number in range(4))
    routes = PAGES | {"/robots.txt": answer(b"#" * 4000)}
    async with browsing(routes, hosts=hosts, robots_cache_bytes=10_000) as (fetcher, web):
        for host in hosts:
            await fetcher.fetch(web.url("/", host))
        assert len(fetcher._robots) == 2


# --- pacing (FETCH-7, FETCH-8): on a clock that jumps ---------------------------------------------------------


async def test_a_host_is_asked_once_a_second(autojump_clock: trio.testing.MockClock) -> None:
    pacing, starts = Pacing(FetchOptions()), []

    async def ask(host: str, delay: float) -> None:
        async with pacing.turn(host, delay):
            starts.append((host, round(trio.current_time() - began, 3)))

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask, "one.test", 0.0)
        for _ in range(2):
            nursery.start_soon(ask, "slow.test", 30.0)
    assert sorted(starts) == [
        ("one.test", 0.0),
        ("one.test", 1.0),
        ("one.test", 2.0),
        ("slow.test", 0.0),
        ("slow.test", 30.0),
    ]


async def test_two_at_once_at_a_host_eight_in_all(autojump_clock: trio.testing.MockClock) -> None:
    pacing = Pacing(FetchOptions())
    now: dict[str, int] = {}
    most: dict[str, int] = {}

    async def ask(host: str) -> None:
        async with pacing.turn(host):
            for key in (host, "all"):
                now[key] = now.get(key, 0) + 1
                most[key] = max(most.get(key, 0), now[key])
            await trio.sleep(60)
            now[host] -= 1
            now["all"] -= 1

    async with trio.open_nursery() as nursery:
        # Fewer hosts than turns: eight at once are two at one of them, in whatever order they come.
        for number in range(60):
            nursery.start_soon(ask, f"h{number % 5}.test")
    assert most.pop("all") == 8
    assert max(most.values()) == 2
    assert not any(now.values())


async def test_waiting_is_bounded_and_cancelled_cleanly(autojump_clock: trio.testing.MockClock) -> None:
    pacing = Pacing(FetchOptions(waiting=4))

    async def ask() -> None:
        async with pacing.turn("one.test"):
            await trio.sleep(1000)

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(ask)
            await trio.sleep(5)
        with pytest.raises(FetchFailed) as failed:
            async with pacing.turn("one.test"):
                pass
        assert (failed.value.code, failed.value.retry_after_ms) == ("fetcher_busy", 1_000)
        nursery.cancel_scope.cancel()
    async with pacing.turn("one.test"), pacing.turn("one.test"):
        pass
