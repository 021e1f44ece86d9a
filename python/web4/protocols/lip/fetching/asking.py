"""One request within its limits: its turn at the host, its time, its size (FETCH-8)."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
import trio

from web4.protocols.lip.errors import FetchFailed, FetchTimeout, TooLarge
from web4.protocols.lip.fetching.bodies import Body
from web4.protocols.lip.fetching.exchange import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from web4.protocols.lip.fetching.dialing import Dialed, Dialer
    from web4.protocols.lip.fetching.exchange import PinnedTransport
    from web4.protocols.lip.fetching.options import FetchOptions
    from web4.protocols.lip.fetching.pacing import Pacing
    from web4.protocols.lip.fetching.uris import FetchUri

AGENT: Final = "web4"
"""The product token: in User-Agent, and in robots.txt (FETCH-7)."""
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ACCEPT: Final = "text/html, application/xhtml+xml, application/pdf, application/json, text/*;q=0.8"


class Budget:
    """The time on the network that one fetch has left. Waiting for a host's sake is not spent from it."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Spend from it during the block.

        Raises:
            FetchTimeout: Nothing is left.
        """
        began = trio.current_time()
        try:
            with trio.move_on_after(max(self.left, 0.0)) as scope:
                yield
        finally:
            self.left -= trio.current_time() - began
        if scope.cancelled_caught:
            raise FetchTimeout("the fetch took too long in all", field="total")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a host answered.

    Args:
        status: Of it.
        head: Status line and header fields, as lines.
        content_type: Without parameters, lowercase.
        charset: Its parameter, or empty.
        location: Where a redirect leads, raw; None if it is none.
        body: Decoded; None where it is no success.
        dialed: How it was reached.
    """

    status: int
    head: bytes
    content_type: str
    charset: str
    location: str | None
    body: bytes | None
    dialed: Dialed


@dataclass(frozen=True, slots=True)
class Asking:
    """Makes requests.

    Args:
        transport: Over which.
        dialer: What it knows without a packet is asked first, before a turn is waited for.
        pacing: Gives the turns.
        options: Limits.
    """

    transport: PinnedTransport
    dialer: Dialer
    pacing: Pacing
    options: FetchOptions

    async def get(
        self,
        uri: FetchUri,
        budget: Budget,
        *,
        limit: int,
        delay_seconds: float = 0.0,
        readable: Callable[[Answer], object] | None = None,
    ) -> Answer:
        """Ask for a URI. The body is read of a success only.

        Cancellation: the connection is closed.

        Args:
            uri: What to ask for.
            budget: The time.
            limit: Bytes of the body, decoded.
            delay_seconds: See `Pacing.turn`.
            readable: Raises if a body of that kind is not wanted, before any of it is read.

        Raises:
            FetchError: See `PinnedTransport`; `too_large`, `fetch_timeout`, `content_encoding`, `fetcher_busy`.
        """
        self.dialer.check(uri)
        request = httpx.Request(
            "GET",
            uri.text,
            headers={
                "Host": uri.authority,
                "User-Agent": AGENT,
                "Accept": _ACCEPT,
                "Accept-Encoding": "gzip, deflate",
                "Connection": "close",
            },
        )
        if str(request.url) != uri.text:  # what was checked is what is asked for
            raise FetchFailed("the URI does not survive being written again", code="protocol_error")
        async with self.pacing.turn(uri.host, delay_seconds):
            with budget.spending():
                response = await self.transport.handle_async_request(request)
                try:
                    return await self._read(response, limit, readable)
                finally:
                    await response.aclose()
        raise AssertionError("a budget that is spent raises")

    async def _read(
        self, response: httpx.Response, limit: int, readable: Callable[[Answer], object] | None
    ) -> Answer:
        answer = _answer(response)
        if answer.status != 200:  # a part of a page (206), or somebody else's version of it (203), is no page
            return answer
        if readable is not None:
            readable(answer)
        encoding = response.headers.get("content-encoding", "")
        length = response.headers.get("content-length", "")
        if not encoding and length.isdecimal() and int(length) > limit:
            raise TooLarge(f"the body has more than {limit} bytes", field="body")
        body = Body(encoding, limit=limit, expansion=self.options.expansion)
        connection = response.stream
        assert isinstance(connection, Connection)
        while (piece := await connection.piece()) is not None:
            body.feed(piece)
        return _answer(response, body.end())


def _answer(response: httpx.Response, body: bytes | None = None) -> Answer:
    declared, _, parameters = response.headers.get("content-type", "").partition(";")
    charset = ""
    for one in parameters.split(";"):
        name, _, value = one.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip("\"'")[:40]
    location = response.headers.get("location") if response.status_code in REDIRECTS else None
    reason = response.extensions.get("reason_phrase", b"")
    lines = [b"HTTP/1.1 %d %s" % (response.status_code, reason)]
    # Nobody here keeps cookies, not even in an archive.
    lines += [name + b": " + value for name, value in response.headers.raw if name.lower() != b"set-cookie"]
    dialed: Dialed = response.extensions["web4_dialed"]
    return Answer(
        status=response.status_code,
        head=b"\r\n".join(lines) + b"\r\n\r\n",
        content_type=declared.strip().lower()[:100],
        charset=charset,
        location=location,
        body=body,
        dialed=dialed,
    )
