"""The limits of the fetcher, and the exceptions that an operator makes (FETCH-8, FETCH-11)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from web4.foundation.addresses import Address


class FetchException(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place that is allowed though it is not public (FETCH-11). Configuration only; no message makes one.

    Args:
        host: As it stands in the URI, lowercase: a name or an address without brackets.
        port: Of the URI.
        network: In which the host's addresses may be, `127.0.0.0/8`; None where only the port is the exception.

    Raises:
        ValueError: The network is none.
    """

    host: str
    port: int
    network: str | None = None

    def __post_init__(self) -> None:
        if self.network is not None:
            ip_network(self.network)

    @property
    def label(self) -> str:
        """How events name it."""
        return f"{self.host}:{self.port}" + ("" if self.network is None else f" in {self.network}")

    def covers(self, host: str, port: int) -> bool:
        """Whether it is about this host and port."""
        return (self.host, self.port) == (host, port)

    def allows(self, address: Address) -> bool:
        """Whether an address of its host may be dialled although it is not public."""
        if self.network is None:
            return False
        network: IPv4Network | IPv6Network = ip_network(self.network)
        return address in network


class FetchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Set by the operator; checked when they are made (LIM-1).

    Args:
        exceptions: Empty by default (FETCH-11).
        connect_seconds: Resolving, connecting and TLS of one hop.
        total_seconds: All that goes over the network for one fetch, redirects and robots.txt included. What is waited
            for the host's sake (one request a second, crawl-delay) does not count.
        header_bytes: Of one answer, its status line included.
        body_bytes: Of one body, after decompression.
        expansion: How many times its compressed size a body may have.
        redirects: That are followed.
        per_host: Requests at one host at once.
        spacing_seconds: Between the starts of two requests at one host.
        in_all: Requests at once.
        waiting: Fetches that may wait for their turn, in all.
        crawl_delay_seconds: The longest crawl-delay that is kept.
        robots_bytes: Of a robots.txt.
        robots_seconds: How long an answer for robots.txt is remembered.
        robots_unreachable_seconds: How long it is remembered that there was none to be had.
        robots_cached: Origins whose robots.txt is remembered.
        robots_cache_bytes: What they may have together.
        extract_ms: What the worker may take to read one body.
        excerpt: Characters of the text that the provenance carries.
        authorities: A file with certificates to trust in place of the shipped ones, PEM; for a house of its own.
    """

    exceptions: tuple[FetchException, ...] = ()
    connect_seconds: float = 5.0
    total_seconds: float = 30.0
    header_bytes: int = 64 * 1024
    body_bytes: int = 2 * 1024 * 1024
    expansion: int = 20
    redirects: int = 5
    per_host: int = 2
    spacing_seconds: float = 1.0
    in_all: int = 8
    waiting: int = 256
    crawl_delay_seconds: float = 30.0
    robots_bytes: int = 500 * 1024
    robots_seconds: float = 24 * 3600.0
    robots_unreachable_seconds: float = 60.0
    robots_cached: int = 256
    robots_cache_bytes: int = 16 * 1024 * 1024
    extract_ms: int = 10_000
    excerpt: int = 280
    authorities: str | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, int | float) and (value < 0 or (value == 0 and name not in _MAY_BE_ZERO)):
                raise ValueError(f"{name} must be positive")


_MAY_BE_ZERO = frozenset({"redirects", "spacing_seconds", "crawl_delay_seconds", "excerpt"})
