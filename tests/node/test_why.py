"""OBS-7: of a refused message, a trust change or a claim, an operator gets the events that decided it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import trio

from tests.node.nodes import a_node
from tests.node.test_node import echo
from tests.protocols.knowledge.nodes import fact
from web4.node.why import Because, why
from web4.protocols.knowledge.keys import claim_key
from web4.protocols.messages import cip
from web4.trust import OperatorPromote

if TYPE_CHECKING:
    from pathlib import Path

    from web4.node import Node


async def told(node: Node, about: str) -> list[Because]:
    return await why(node.journal.backend, node.journal.registry, about, memory=node.hub.memory)


async def test_why(tmp_path: Path) -> None:
    """OBS-7: with reasons, over whole nodes; what nobody knows has none."""
    with trio.fail_after(60):
        async with (
            a_node(tmp_path, "bob", handler=echo) as bob,
            a_node(tmp_path, "ada", knows=(bob,), anchors=True, handler=echo) as ada,
        ):
            await ada.connected(bob.fingerprint)
            trace = cip.DmpTrace(decision_id=str(uuid.uuid4()), steps=("s",), counterfactuals=(), evidence=())
            decision = cip.SharedDecision(choice="a", outcome="b", context={})
            share = cip.DecisionShare(decision=decision, dmp_trace=trace, retrospective="none")
            refused = await ada.cip.send(bob.fingerprint, share)
            while (how := await ada.cip.concluded(bob.fingerprint, refused)) is None:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert (how.outcome, how.reason) == ("refused", "gate")
            (because,) = await told(bob, refused)
            assert (because.type, because.lane, because.event["code"]) == ("envelope_rejected", None, "gate")

            promote = OperatorPromote(at_ms=bob.clock.wall_ms(), human="grace", reason="met in person")
            await bob.cip.trust_command(ada.fingerprint, promote)
            types = [one.type for one in await told(bob, ada.fingerprint)]
            assert (types.count("trust.recorded"), types.count("decision.made")) == (2, 2)
            assert {"trust_transition", "trust_override"} >= {
                one for one in types if one.startswith("trust_")
            }

            await ada.knowledge.propose(fact("ice floats"), to=[bob.fingerprint])
            key = claim_key("physics", "ice floats")
            while not await bob.knowledge.claims():  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.01)
            await bob.knowledge.decide_as_human(key, "reject", "grace", "it was lead")
            about = await told(bob, key)
            assert {"decision.made", "claim_pending", "claim_rejected"} <= {one.type for one in about}
            made = next(one.event for one in about if one.type == "decision.made")
            assert "it was lead" in made.reasons
            assert await told(bob, str(uuid.uuid4())) == []
