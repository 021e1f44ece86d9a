"""robots.txt: asked for before anything else of a host, remembered for a while (FETCH-7, RFC 9309)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import trio

from web4.protocols.lip.errors import (
    AddressRefused,
    ConstraintRefused,
    FetchError,
    FetchFailed,
    RobotsRefused,
    TooLarge,
)
from web4.protocols.lip.fetching.asking import AGENT, REDIRECTS
from web4.protocols.lip.fetching.uris import join_uri, parse_uri

if TYPE_CHECKING:
    from web4.foundation.events import Emitter
    from web4.protocols.lip.extracting import Extractor
    from web4.protocols.lip.fetching.asking import Asking, Budget
    from web4.protocols.lip.fetching.constraints import Constraints
    from web4.protocols.lip.fetching.options import FetchOptions
    from web4.protocols.lip.fetching.record import RobotsVerdict, Trail
    from web4.protocols.lip.fetching.uris import FetchUri

REDIRECTS_FOLLOWED = 5


@dataclass(slots=True)
class _Entry:
    """What is known of one origin. `body` is None where there is no robots.txt, or where `missing` says why not."""

    lock: trio.Lock = field(default_factory=trio.Lock)
    until: float = float("-inf")
    body: bytes | None = None
    missing: Literal["robots_unreachable", "robots_too_large"] | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """A URI may be fetched.

    Args:
        verdict: Why.
        crawl_delay: Seconds between two requests; 0 when nothing was asked for.
    """

    verdict: RobotsVerdict
    crawl_delay: float


class Robots:
    """Asks robots.txt before a request is made.

    Args:
        asking: Makes the requests for robots.txt, under the rules of every other.
        extractor: Reads it, in the worker.
        options: Times and sizes.
        emit: Told when the memory is full.
    """

    def __init__(self, asking: Asking, extractor: Extractor, options: FetchOptions, emit: Emitter) -> None:
        self._asking = asking
        self._extractor = extractor
        self._options = options
        self._emit = emit
        self._known: dict[str, _Entry] = {}

    def __len__(self) -> int:
        return len(self._known)

    async def check(self, uri: FetchUri, constraints: Constraints, budget: Budget, trail: Trail) -> Allowed:
        """Whether a URI may be fetched.

        Raises:
            RobotsRefused: It may not, nobody knows, or the pause asked for is too long.
            AddressRefused, ConstraintRefused: robots.txt is where this node does not go.
            FetchFailed: `fetcher_busy`.
        """
        entry = self._entry(uri.origin)
        async with entry.lock:
            if trio.current_time() >= entry.until:
                await self._ask(entry, uri, constraints, budget, trail)
        if entry.missing == "robots_too_large":
            raise RobotsRefused(f"robots.txt of {uri.host} is too large", code=entry.missing)
        if entry.missing is not None:
            raise RobotsRefused(f"robots.txt of {uri.host} could not be had", code=entry.missing)
        if entry.body is None:
            return Allowed("no_robots", 0.0)
        try:
            answer = await self._extractor.read_robots(entry.body, uri.text, AGENT)
        except FetchFailed:
            raise RobotsRefused(
                f"robots.txt of {uri.host} could not be read", code="robots_unreachable"
            ) from None
        if not answer.allowed:
            raise RobotsRefused(f"robots.txt of {uri.host} disallows it", code="robots_disallowed")
        if answer.crawl_delay > self._options.crawl_delay_seconds:
            raise RobotsRefused(f"{uri.host} wants to be asked less often", code="crawl_delay")
        return Allowed("allowed", answer.crawl_delay)

    def _entry(self, origin: str) -> _Entry:
        entry = self._known.pop(origin, None)
        if entry is None:
            entry = _Entry()
        self._known[origin] = entry
        if len(self._known) > self._options.robots_cached:
            self._forget_oldest(self._options.robots_cached)
        return entry

    def _forget_oldest(self, limit: int) -> None:
        """Forget the one that was asked for longest ago. Whoever waits for it holds it all the same."""
        del self._known[next(iter(self._known))]
        self._emit("metrics", severity="debug", kind="robots_cache_full", limit=limit)

    async def _ask(
        self, entry: _Entry, uri: FetchUri, constraints: Constraints, budget: Budget, trail: Trail
    ) -> None:
        entry.body, entry.missing = None, None
        try:
            entry.body = await self._fetched(uri, constraints, budget, trail)
        except (AddressRefused, ConstraintRefused):
            raise
        except TooLarge:
            entry.missing = "robots_too_large"
        except FetchError as error:
            if error.code == "fetcher_busy":
                raise
            entry.missing = "robots_unreachable"
        unreachable = entry.missing == "robots_unreachable"
        seconds = self._options.robots_unreachable_seconds if unreachable else self._options.robots_seconds
        entry.until = trio.current_time() + seconds
        while sum(len(one.body or b"") for one in self._known.values()) > self._options.robots_cache_bytes:
            self._forget_oldest(self._options.robots_cache_bytes)

    async def _fetched(
        self, uri: FetchUri, constraints: Constraints, budget: Budget, trail: Trail
    ) -> bytes | None:
        """The file; None where there is none: a 4xx allows all."""
        place = parse_uri(f"{uri.origin}/robots.txt")
        for _ in range(REDIRECTS_FOLLOWED + 1):
            constraints.check(place)
            answer: Any = await self._asking.get(place, budget, limit=self._options.robots_bytes)
            trail.exceptions.update(answer.dialed.exceptions)
            if answer.body is not None:
                return bytes(answer.body)
            if 400 <= answer.status < 500:
                return None
            if answer.status not in REDIRECTS or not answer.location:
                break
            further = join_uri(place, answer.location)
            if place.scheme == "https" and further.scheme != "https":
                break
            place = further
        raise FetchFailed(f"robots.txt of {uri.host} could not be had", code="http_status")
