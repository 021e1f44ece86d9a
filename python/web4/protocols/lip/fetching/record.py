"""What a fetch leaves behind (FETCH-10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from web4.foundation.clock import parse_timestamp
from web4.protocols.lip.untrusted import Origin, UntrustedText
from web4.protocols.messages.fields import Provenance

RobotsVerdict = Literal["allowed", "no_robots"]
"""What let a hop through: its robots.txt, or that there is none. Another verdict ends the fetch."""


class Hop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request of a fetch and its answer.

    Args:
        uri: What was asked for.
        address: Which address was dialled.
        status: Of the answer.
        robots: What let it through.
        crawl_delay: Seconds that robots.txt asks for; 0 for none.
        at: When the answer came, UTC.
    """

    uri: str
    address: str
    status: int
    robots: RobotsVerdict
    crawl_delay: float
    at: str


class FetchRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fetch that succeeded: the provenance of LIP-1, and how it came about.

    Args:
        fetch_id: Unique on its lane.
        uri: What was asked for, as this node writes it.
        final_uri: Where the redirects led.
        retrieved_at: When the last answer came, UTC.
        status: Of the last answer: 200.
        content_type: Without parameters, lowercase.
        charset: As the answer named it, or empty.
        body_blake3: Of the decoded body, hex.
        body_bytes: Of the decoded body.
        body: The blob of the body; differs from the hash only where a secret of the node stood in it (JRN-18).
        text: The blob of the text that was read from it, UTF-8.
        head: The blob of the last answer's status line and header fields.
        title: Of the page; the site's words.
        excerpt: The beginning of the text; the site's words.
        hops: Every request, the first one first.
        constraints: That it was held to.
        exceptions: Of FETCH-11 that were used.
    """

    fetch_id: str
    uri: str
    final_uri: str
    retrieved_at: str
    status: int
    content_type: str
    charset: str
    body_blake3: str
    body_bytes: int
    body: str
    text: str
    head: str
    title: str
    excerpt: str
    hops: tuple[Hop, ...]
    constraints: tuple[str, ...]
    exceptions: tuple[str, ...]

    def provenance(self) -> Provenance:
        """What LIP_EVIDENCE carries of it (LIP-1)."""
        return Provenance(
            uri=self.uri,
            final_uri=self.final_uri,
            retrieved_at=self.retrieved_at,
            status=self.status,
            content_type=self.content_type,
            body_blake3=self.body_blake3,
            body_bytes=self.body_bytes,
            excerpt=self.excerpt,
        )

    def untrusted(self, text: str) -> UntrustedText:
        """A text of this fetch with its origin (LIP-7)."""
        return UntrustedText(
            text=text,
            origin=Origin(
                kind="web",
                source=self.final_uri,
                digest=self.body_blake3,
                at_ms=parse_timestamp(self.retrieved_at),
            ),
        )


@dataclass(slots=True)
class Trail:
    """What a fetch has done so far: whoever gives one knows it even if the fetch fails."""

    hops: list[Hop] = field(default_factory=list)
    exceptions: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetch that succeeded, with its contents: they are not in the record's blobs yet.

    Args:
        record: With empty names of blobs.
        body: Decoded.
        text: That was read from it.
        head: Status line and header fields of the last answer.
    """

    record: FetchRecord
    body: bytes
    text: UntrustedText
    head: bytes
