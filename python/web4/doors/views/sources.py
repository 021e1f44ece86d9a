"""How far sources on the internet are trusted: `source_ls` (LIP-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from web4.doors.control.commands import Nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.views.reading import Reading
    from web4.protocols.knowledge.sources.tiers import Source


async def source_ls(reading: Reading, _: Nothing) -> Mapping[str, Any]:
    """`{sources: [row]}`, by registrable domain."""
    known = (await reading.ledger()).sources
    return {"sources": [source_row(domain, known[domain]) for domain in sorted(known)]}


def source_row(domain: str, source: Source) -> dict[str, Any]:
    """A source in brief: its tier, how many of its claims were ever accepted, and how many still are."""
    return {
        "domain": domain,
        "tier": source.tier,
        "accepted": source.accepted,
        "standing": source.standing,
    }


QUESTIONS: Final = {"source_ls": (Nothing, source_ls)}
