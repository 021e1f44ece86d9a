"""What other rooms tell causal memory. The logic of lane `knowledge` passes them on. Times are Unix milliseconds."""

from __future__ import annotations

from typing import Any

import msgspec

from web4.protocols.knowledge.memory.entries import Experience, StoredTriple, Weight


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", omit_defaults=True):
    """What all commands carry: when, and the decision it belongs to, if there is one (MEM-1)."""

    at_ms: int
    decision_id: str | None = None


class AcceptClaim(_Command, frozen=True, tag="accept_claim"):
    """The ledger accepted a claim (KNOW-8). Accepting one that is there again lifts its flag.

    Args:
        key: KNOW-1.
        domain: Of the claim; it is lowercased here.
        triple: If the claim came with one, made by `stored_triple`.
        causal_links: Ids of decisions or keys of claims that it follows from, as FACT_PROPOSE names them. Each becomes
            an edge to the claim, unless that would close a cycle.
        confidence: The proposer's: the weight of those edges.
    """

    key: str
    domain: str
    triple: StoredTriple | None = None
    causal_links: tuple[str, ...] = ()
    confidence: Weight = 1.0


class FlagClaim(_Command, frozen=True, tag="flag_claim"):
    """The ledger took an acceptance back: the claim is disputed or rejected (KNOW-7).

    It does not count in checks any more, and what was derived from it shows as flagged.
    """

    key: str
    reason: str


class UnflagClaim(_Command, frozen=True, tag="unflag_claim"):
    """The claim is accepted as before: its dispute ended."""

    key: str


class Contradict(_Command, frozen=True, tag="contradict"):
    """Two things cannot both hold (MEM-4).

    Args:
        source: Key of an accepted claim, or id of an own record.
        target: Key of a claim, in memory or not. Between two claims it holds both ways.
    """

    source: str
    target: str


class Record(_Command, frozen=True, tag="record"):
    """This node did or saw something itself.

    Args:
        experience: What, when; see `experience`.
        causes: Names of nodes that led to it: each becomes an edge to it.
    """

    experience: Experience
    causes: tuple[str, ...] = ()


class Link(_Command, frozen=True, tag="link"):
    """This node saw that `cause` led to `effect`, or, with a small weight, that it did not (MEM-2)."""

    cause: str
    effect: str
    weight: Weight = 1.0


class ReceiveShare(_Command, frozen=True, tag="receive_share"):
    """A DECISION_SHARE came (MEM-3). The same `msg_id` counts once.

    Args:
        origin: Fingerprint of the session's peer.
        shared_decision_id: The peer's own.
        choice: What it chose.
        outcome: What came of it.
        context: In which context; JSON.
        retrospective: What it makes of it.
    """

    msg_id: str
    origin: str
    shared_decision_id: str
    choice: str
    outcome: str
    context: dict[str, Any] = {}
    retrospective: str = ""


MemoryCommand = AcceptClaim | FlagClaim | UnflagClaim | Contradict | Record | Link | ReceiveShare
