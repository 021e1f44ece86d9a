"""The fetcher: one URI, all of section 13, and a record of what happened."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from web4 import _core
from web4.foundation.clock import SystemClock, format_timestamp
from web4.foundation.events import IsolatedEmitter, no_events
from web4.protocols.lip.errors import AddressRefused, ConstraintRefused, FetchFailed
from web4.protocols.lip.extracting import open_extractor
from web4.protocols.lip.fetching.asking import Asking, Budget
from web4.protocols.lip.fetching.constraints import parse_constraints
from web4.protocols.lip.fetching.dialing import Dialer, system_dial, system_resolve
from web4.protocols.lip.fetching.exchange import PinnedTransport, tls_context
from web4.protocols.lip.fetching.options import FetchOptions
from web4.protocols.lip.fetching.pacing import Pacing
from web4.protocols.lip.fetching.record import Fetched, FetchRecord, Hop, Trail
from web4.protocols.lip.fetching.robots import Robots
from web4.protocols.lip.fetching.uris import join_uri, parse_uri

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from web4.extensions import Processes
    from web4.foundation.clock import Clock
    from web4.foundation.events import Emitter
    from web4.protocols.lip.extracting import Extractor
    from web4.protocols.lip.extracting.extractor import Kind
    from web4.protocols.lip.fetching.asking import Answer
    from web4.protocols.lip.fetching.constraints import Constraints
    from web4.protocols.lip.fetching.dialing import Dial, Resolve
    from web4.protocols.lip.fetching.uris import FetchUri

_KINDS: Final[dict[str, Kind]] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/json": "text",
}


class Fetcher:
    """Fetches. `open_fetcher` makes it; it keeps nothing of a fetch but when its host was asked, and its robots.txt.

    Args:
        extractor: Reads bodies and robots.txt.
        dialer: Connects.
        tls: See `tls_context`.
        options: Limits and exceptions.
        clock: For the times in records.
        emit: Told of every use of an exception (FETCH-11).
    """

    def __init__(
        self,
        extractor: Extractor,
        dialer: Dialer,
        tls: ssl.SSLContext,
        *,
        options: FetchOptions,
        clock: Clock,
        emit: Emitter,
    ) -> None:
        self.options = options
        self.clock = clock
        self._extractor = extractor
        self._emit = emit
        self._dialer = dialer
        self._asking = Asking(PinnedTransport(dialer, options, tls), dialer, Pacing(options), options)
        self._robots = Robots(self._asking, extractor, options, emit)

    async def fetch(
        self,
        uri: str,
        constraints: Sequence[str] = (),
        *,
        fetch_id: str = "",
        trail: Trail | None = None,
    ) -> Fetched:
        """Fetch a URI. The result's text is data, whatever it says (LIP-7).

        Cancellation: connections are closed, the worker that reads is stopped.

        Args:
            uri: Absolute, http or https.
            constraints: See FETCH-2.
            fetch_id: For the record.
            trail: Filled on the way, also by a fetch that fails.

        Raises:
            FetchError: Which rule it broke, or what went wrong.
        """
        trail = Trail() if trail is None else trail
        try:
            return await self._fetch(uri, tuple(constraints), fetch_id, trail)
        finally:
            for label in sorted(trail.exceptions):
                self._emit(
                    "fetch_requested",
                    severity="warning",
                    kind="exception_used",
                    exception=label,
                    fetch_id=fetch_id,
                )

    async def _fetch(self, raw: str, given: tuple[str, ...], fetch_id: str, trail: Trail) -> Fetched:
        constraints = parse_constraints(given)
        first = parse_uri(raw)
        final, answer = await self._follow(first, constraints, trail)
        assert answer.body is not None
        page = await self._extractor.read_page(
            answer.body,
            _kind(answer),
            charset=answer.charset,
            find_personal_data=constraints.no_personal_data,
            limit=self.options.body_bytes,
            timeout_ms=self.options.extract_ms,
        )
        if constraints.no_personal_data and page.personal_data:
            kinds = ", ".join(page.personal_data)
            raise ConstraintRefused(f"the body holds {kinds}", code="personal_data", field="constraints")
        record = FetchRecord(
            fetch_id=fetch_id,
            uri=first.text,
            final_uri=final.text,
            retrieved_at=trail.hops[-1].at,
            status=answer.status,
            content_type=answer.content_type,
            charset=answer.charset,
            body_blake3=_core.blake3(answer.body).hex(),
            body_bytes=len(answer.body),
            body="",
            text="",
            head="",
            title=page.title,
            excerpt=" ".join(page.text[: 4 * self.options.excerpt].split())[: self.options.excerpt],
            hops=tuple(trail.hops),
            constraints=given,
            exceptions=tuple(sorted(trail.exceptions)),
        )
        return Fetched(record=record, body=answer.body, text=record.untrusted(page.text), head=answer.head)

    async def _follow(self, uri: FetchUri, constraints: Constraints, trail: Trail) -> tuple[FetchUri, Answer]:
        """Ask, and ask where redirects lead; each is checked like a new URI (FETCH-6)."""
        budget = Budget(self.options.total_seconds)
        while True:
            constraints.check(uri)
            self._dialer.check(uri)
            allowed = await self._robots.check(uri, constraints, budget, trail)
            answer = await self._asking.get(
                uri,
                budget,
                limit=self.options.body_bytes,
                delay_seconds=allowed.crawl_delay,
                readable=_kind,
            )
            trail.exceptions.update(answer.dialed.exceptions)
            trail.hops.append(
                Hop(
                    uri=uri.text,
                    address=answer.dialed.address,
                    status=answer.status,
                    robots=allowed.verdict,
                    crawl_delay=allowed.crawl_delay,
                    at=format_timestamp(self.clock.wall_ms()),
                )
            )
            if answer.body is not None:
                return uri, answer
            if not answer.location:
                raise FetchFailed(f"{uri.host} answers {answer.status}", code="http_status")
            if len(trail.hops) > self.options.redirects:
                raise FetchFailed(f"more than {self.options.redirects} redirects", code="too_many_redirects")
            further = join_uri(uri, answer.location)
            if uri.scheme == "https" and further.scheme != "https":
                raise AddressRefused(f"{uri.host} leads from https to http", code="downgrade_refused")
            uri = further


def _kind(answer: Answer) -> Kind:
    """How a body is to be read.

    Raises:
        FetchFailed: `content_type`: no type of FETCH-9.
    """
    found = _KINDS.get(answer.content_type)
    if found is not None:
        return found
    if answer.content_type.startswith("text/"):
        return "text"
    raise FetchFailed("a content type that is not read here, or none", code="content_type")


@asynccontextmanager
async def open_fetcher(
    options: FetchOptions | None = None,
    *,
    processes: Processes | None = None,
    runtime: Path | None = None,
    clock: Clock | None = None,
    emit: Emitter = no_events,
    resolve: Resolve = system_resolve,
    dial: Dial = system_dial,
) -> AsyncIterator[Fetcher]:
    """Have a fetcher for the time of the block, with a worker that reads for it.

    Args:
        options: Limits and exceptions; none are made by default.
        processes: Starts workers; None to have processes of its own.
        runtime: Where these keep what they need while they run, see `open_extractor`.
        clock: For the times in records.
        emit: Told what workers do, and of every use of an exception.
        resolve: Asked for the addresses of a name, once per hop.
        dial: Connects to a checked address.

    Raises:
        ExtensionError: The worker does not start.
        OSError: The file of authorities cannot be read.
    """
    options = options or FetchOptions()
    emit = IsolatedEmitter(emit)
    tls = await trio.to_thread.run_sync(partial(tls_context, options.authorities))
    dialer = Dialer(options.exceptions, resolve, dial)
    async with open_extractor(processes, runtime=runtime, emit=emit) as extractor:
        yield Fetcher(extractor, dialer, tls, options=options, clock=clock or SystemClock(), emit=emit)
