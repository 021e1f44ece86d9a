"""Too much is an error, never a truncated success (FETCH-8, FETCH-9)."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.protocols.lip.web import SITE, Route, answer, browsing
from web4.protocols.lip.errors import FetchError, FetchFailed, FetchTimeout, TooLarge
from web4.protocols.lip.fetching.options import FetchOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

MiB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Python's own memory grows by no more than `most` bytes."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak:,} bytes"


def endless(start: bytes, piece: bytes, pause: float = 0.0) -> Route:
    async def send(stream: trio.SocketStream) -> None:
        await stream.send_all(start)
        while True:
            await stream.send_all(piece)
            await trio.sleep(pause)

    return send


async def failing(route: Route, **limits: Any) -> FetchError:
    async with browsing({"/": route}, **limits) as (fetcher, web):
        with bounded(24 * MiB), trio.fail_after(60), pytest.raises(FetchError) as failed:
            await fetcher.fetch(web.url())
        assert web.pages == [f"{SITE}/"]
    return failed.value


async def test_fetch_limits_slow_drip() -> None:
    """However little comes at a time, the total is the total."""
    for start, piece in (
        (HEAD + b"\r\n", b"x"),
        (HEAD, b"X-A: b\r\n"),
        (b"", b"H"),
        (b"HTTP/1.1 100 C\r\n\r\n", b""),
    ):
        error = await failing(endless(start, piece, 0.02), total_seconds=1.0)
        assert isinstance(error, FetchTimeout | FetchFailed), error
        assert error.code in {"fetch_timeout", "protocol_error"}
    assert FetchOptions().total_seconds == 30
    assert FetchOptions().connect_seconds == 5


async def test_fetch_limits_redirects_share_the_time() -> None:
    """The total is of the fetch, not of a hop."""

    async def slowly(stream: trio.SocketStream) -> None:
        await trio.sleep(0.5)
        await stream.send_all(b"HTTP/1.1 302 F\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")

    async with browsing({"/": slowly}, total_seconds=1.2) as (fetcher, web):
        with pytest.raises(FetchTimeout):
            await fetcher.fetch(web.url())
        assert 2 <= len(web.pages) <= 4


async def test_fetch_limits_connecting() -> None:
    """A name that does not resolve in time."""
    async with browsing({}, connect_seconds=0.1) as (fetcher, web):

        async def never(host: str, port: int) -> list[str]:
            await trio.sleep_forever()
            return []

        object.__setattr__(fetcher._dialer, "resolve", never)
        with pytest.raises(FetchError) as failed:
            await fetcher.fetch(web.url())
        assert failed.value.code == "robots_unreachable"
        assert web.connections == 0


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"\r\n",
        HEAD + b"Content-Length: 99999999999\r\n\r\n",
        HEAD + b"Content-Length: 2097153\r\n\r\n",
    ],
)
async def test_fetch_limits(start: bytes) -> None:
    error = await failing(endless(start, b"x" * 65536))
    assert isinstance(error, TooLarge)
    assert error.field == "body"


async def test_fetch_limits_endless_chunks() -> None:
    """Of one byte each, and with extensions that are longer than what they extend."""
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    error = await failing(endless(chunked, b"10000\r\n" + b"x" * 65536 + b"\r\n"))
    assert (type(error), error.field) == (TooLarge, "body")
    error = await failing(endless(chunked, (b"1;" + b"e" * 4000 + b"\r\nx\r\n") * 16))
    assert (type(error), error.field) == (TooLarge, "body")
    error = await failing(endless(chunked + b"1;", b"e" * 65536))
    assert error.code in {"too_large", "protocol_error"}
    error = await failing(endless(chunked + b"0\r\n", b"X-Trailer: y\r\n" * 1000))
    assert error.code in {"too_large", "protocol_error"}


async def test_fetch_limits_exactly() -> None:
    """The last byte that is allowed, and the one after it."""
    for size, fits in ((2 * MiB, True), (2 * MiB + 1, False)):
        for route in (answer(b"x" * size), HEAD + b"\r\n" + b"x" * size):
            async with browsing({"/": route}) as (fetcher, web):
                if fits:
                    assert (await fetcher.fetch(web.url())).record.body_bytes == size
                else:
                    with pytest.raises(TooLarge):
                        await fetcher.fetch(web.url())


async def test_fetch_limits_huge_headers() -> None:
    """One long field, many fields, a status line without end, informational answers without end."""
    for start, piece in (
        (HEAD + b"X-Long: ", b"x" * 65536),
        (HEAD, b"X-Many: y\r\n" * 6000),
        (b"HTTP/1.1 200 ", b"O" * 65536),
        (b"", b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 3000),
    ):
        error = await failing(endless(start, piece))
        assert (type(error), error.field) == (TooLarge, "headers")
    async with browsing({"/": HEAD + b"X: " + b"y" * 60_000 + b"\r\nContent-Length: 2\r\n\r\nok"}) as (
        fetcher,
        web,
    ):
        assert (await fetcher.fetch(web.url())).text.text == "ok"


async def test_fetch_limits_compression_bomb() -> None:
    """A body that unpacks to gigabytes is cut at the limit; a small one that unpacks too well is refused as a whole."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(MiB)) for _ in range(200)) + packer.flush()
    error = await failing(answer(bomb, Content_Encoding="gzip"))
    assert (type(error), error.field) == (TooLarge, "body")
    error = await failing(answer(gzip.compress(bytes(MiB)), Content_Encoding="gzip"))
    assert (type(error), error.field) == (TooLarge, "expansion")


async def test_fetch_limits_expansion_exactly() -> None:
    """Twenty times the compressed size, and one byte more."""
    packed = zlib.compress(b"y" * 400)
    for times, fits in ((400 / len(packed), True), (399 / len(packed), False)):
        async with browsing({"/": answer(packed, Content_Encoding="deflate")}) as (fetcher, web):
            object.__setattr__(fetcher._asking, "options", FetchOptions(expansion=1000))
            assert (await fetcher.fetch(web.url())).record.body_bytes == 400
        from web4.protocols.lip.fetching.bodies import Body

        body = Body("deflate", limit=1000, expansion=times)  # type: ignore[arg-type]  # to hit the very byte
        body.feed(packed)
        if fits:
            assert body.end() == b"y" * 400
        else:
            with pytest.raises(TooLarge):
                body.end()


TEXT = "".join(f"line {number} of a text that compresses a little\n" for number in range(500)).encode()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "raw deflate", "identity", ""])
async def test_bodies_are_decoded(encoding: str) -> None:
    """gzip, and deflate in both of its forms; the hash is of the decoded body."""
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(TEXT),
        "x-gzip": gzip.compress(TEXT),
        "deflate": zlib.compress(TEXT),
        "raw deflate": raw.compress(TEXT) + raw.flush(),
    }.get(encoding, TEXT)
    name = encoding.removeprefix("raw ")
    async with browsing({"/": answer(packed, **({"Content_Encoding": name} if name else {}))}) as (
        fetcher,
        web,
    ):
        fetched = await fetcher.fetch(web.url())
        assert fetched.body == TEXT
        assert fetched.text.text == TEXT.decode()


@pytest.mark.parametrize(
    "route",
    [
        answer(gzip.compress(TEXT)[:-9], Content_Encoding="gzip"),
        answer(gzip.compress(TEXT) + b"tail", Content_Encoding="gzip"),
        answer(b"no gzip at all", Content_Encoding="gzip"),
        answer(b"", Content_Encoding="gzip"),
        answer(TEXT, Content_Encoding="br"),
        answer(TEXT, Content_Encoding="gzip, gzip"),
        answer(TEXT, Content_Encoding="zstd"),
    ],
)
async def test_a_damaged_or_unasked_encoding_fails(route: bytes) -> None:
    async with browsing({"/": route}) as (fetcher, web):
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch(web.url())
        assert failed.value.code == "content_encoding"


@pytest.mark.parametrize(
    "route",
    [
        HEAD + b"Content-Length: 100\r\n\r\nshort",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
        b"\0" * 100,
    ],
)
async def test_an_answer_that_is_no_http_or_not_whole_fails(route: Route) -> None:
    async with browsing({"/": route}) as (fetcher, web):
        with pytest.raises(FetchFailed) as failed:
            await fetcher.fetch(web.url())
        assert failed.value.code in {"protocol_error", "connection_failed"}


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("text/plain", True),
        ("TEXT/HTML; charset=utf-8", True),
        ("text/markdown", True),
        ("application/json", True),
        ("application/xhtml+xml", True),
        ("application/octet-stream", False),
        ("image/png", False),
        ("application/javascript", False),
        ("application/zip", False),
        ("textual/plain", False),
        ("", False),
    ],
)
async def test_only_types_of_the_list_are_read(kind: str, read: bool) -> None:
    """FETCH-9: the body of another type is not even received."""
    async with browsing({"/": answer(b"{}", kind=kind)}) as (fetcher, web):
        if read:
            assert (await fetcher.fetch(web.url())).body == b"{}"
        else:
            with pytest.raises(FetchFailed) as failed:
                await fetcher.fetch(web.url())
            assert failed.value.code == "content_type"


async def test_a_cancelled_fetch_leaves_nothing() -> None:
    """The connection is closed, the turn is free again."""
    reached, released = trio.Event(), trio.Event()

    async def hang(stream: trio.SocketStream) -> None:
        reached.set()
        await stream.receive_some(1)  # returns when the fetcher hangs up
        released.set()

    async with browsing({"/": hang, "/ok": answer(b"ok")}) as (fetcher, web):
        for _ in range(10):
            reached, released = trio.Event(), trio.Event()
            with trio.fail_after(60):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fetcher.fetch, web.url())
                    await reached.wait()
                    nursery.cancel_scope.cancel()
                await released.wait()
        assert (await fetcher.fetch(web.url("/ok"))).text.text == "ok"
