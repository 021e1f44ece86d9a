"""What a message leads to is named after its sender, too: ids are chosen by whoever sends (ROUTE-3, WEB-4)."""

from __future__ import annotations

from tests.protocols.knowledge.book import fp, msg
from tests.protocols.knowledge.nodes import delivery
from web4.protocols.knowledge.handlers import commands_of
from web4.protocols.knowledge.ledger.limits import KnowledgeLimits
from web4.protocols.messages import cip as m

CHALLENGE = m.FactChallenge(fact_ref="ab" * 32, reason="conflict", notes="")


def cause_of(peer: str, msg_id: str) -> str:
    """By what name the ledger remembers what a message of `peer` leads to."""
    (command,) = commands_of(
        delivery(fp("node"), peer, CHALLENGE, msg_id, "trusted", now=1_800_000_000_000), KnowledgeLimits()
    )
    return command.cause


def test_no_peer_uses_up_the_cause_of_anothers_message() -> None:
    """Two peers may send the same id: what the second message leads to still has its effect on trust."""
    assert cause_of(fp("a"), msg("x")) != cause_of(fp("b"), msg("x"))
    assert cause_of(fp("a"), msg("x")) == cause_of(fp("a"), msg("x"))
