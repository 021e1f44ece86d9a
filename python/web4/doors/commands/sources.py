"""What a human says of a source: `source_tier` (LIP-2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from web4.doors.commands.operators import add_for_operators
from web4.doors.control.wire import refused
from web4.doors.views.sources import source_row
from web4.protocols.knowledge.sources.domains import source_domain
from web4.protocols.knowledge.sources.tiers import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from web4.doors.control import CommandSet
    from web4.doors.views.reading import Reading
    from web4.node import Node


class SetTier(msgspec.Struct, frozen=True):
    """What is said.

    Args:
        domain: A host, or an address with one: its registrable domain is meant.
        tier: How far it is to be trusted.
        human: Who says it.
        reason: Why.
    """

    domain: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)]
    tier: Tier
    human: str
    reason: str


def add(commands: CommandSet, node: Node, reading: Reading) -> None:
    """Add the commands of this group."""

    async def tier(asked: SetTier) -> Mapping[str, Any]:
        address = asked.domain if "://" in asked.domain else f"https://{asked.domain}/"
        domain = source_domain(address)
        if domain is None:
            raise refused(f"domain must be a host, or an http(s) address: {asked.domain[:80]!r}")
        before = (await reading.ledger()).source(domain).tier
        await node.knowledge.set_tier(domain, asked.tier, asked.human, asked.reason)
        now = await node.knowledge.source(domain)
        return {**source_row(domain, now), "was": before}

    add_for_operators(commands, "source_tier", SetTier, tier)
