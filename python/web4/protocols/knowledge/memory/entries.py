"""What causal memory holds: accepted claims, own experience, and what others shared of theirs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from web4.foundation.digest import blake3_hex, canonical
from web4.protocols.knowledge.keys import normal_text

MOST_NAME: Final = 256
"""Characters of the name of a node: a record's id, a claim's key, a decision's id, or words."""
MOST_DETAIL: Final = 1_024
"""Canonical bytes of each of inputs, outputs and parameters; of larger ones BLAKE3 and size are kept."""
MOST_BYTES: Final = 8_192
"""Canonical bytes of a record."""
MOST_LINKS: Final = 64
"""Links of one claim or record that are remembered."""

Name = Annotated[str, Meta(min_length=1, max_length=MOST_NAME)]
Text = Annotated[str, Meta(max_length=MOST_NAME)]
Weight = Annotated[float, Meta(ge=0, le=1)]


class SaysTriple(Protocol):
    """A statement as subject, predicate and object, as a FACT_PROPOSE brings it."""

    @property
    def subject(self) -> str: ...  # noqa: D102
    @property
    def predicate(self) -> str: ...  # noqa: D102
    @property
    def object(self) -> str: ...  # noqa: D102
    @property
    def functional(self) -> bool: ...  # noqa: D102


class _Entry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """What all that is stored is. JSON has no cycles: the garbage collector need not look at a hundred thousand."""


class StoredTriple(_Entry, frozen=True, kw_only=True):
    """A triple with its texts in normal form. `functional`: there is one object only (MEM-4)."""

    subject: Text
    predicate: Text
    object: Text
    functional: bool


def stored_triple(triple: SaysTriple) -> StoredTriple:
    """Give a triple as memory compares it: NFC, trimmed, white space runs as one space, as in KNOW-1.

    Of a text over 256 characters its BLAKE3 stands for it: a beginning would not do, for two that begin alike.
    """
    return StoredTriple(
        subject=_comparable(triple.subject),
        predicate=_comparable(triple.predicate),
        object=_comparable(triple.object),
        functional=triple.functional,
    )


def stored_domain(domain: str) -> str:
    """Give a domain as memory compares it: lowercased, as in KNOW-1. Of a long one its BLAKE3 stands for it."""
    return _bounded(domain.lower())


def _comparable(text: str) -> str:
    return _bounded(normal_text(text))


def _bounded(text: str) -> str:
    return text if len(text) <= MOST_NAME else "b3:" + blake3_hex(text.encode())


class RememberedClaim(_Entry, frozen=True, kw_only=True):
    """A claim that was accepted (KNOW-8).

    Args:
        key: KNOW-1.
        domain: Lowercased.
        triple: If it came with one.
        follows_from: The claims in memory that it names as what it follows from.
        flag: Why it does not count at present: `disputed`, `rejected`; None if it does.
        at_ms: When it was accepted.
    """

    key: Name
    domain: str
    triple: StoredTriple | None = None
    follows_from: tuple[Name, ...] = ()
    flag: str | None = None
    at_ms: int


class Experience(_Entry, frozen=True, kw_only=True):
    """Something this node did or saw itself (MEM-2). Make it with `experience`, which keeps it within its bounds.

    Args:
        record_id: Came with the command.
        name: What was done: a tool's name, a decision's choice.
        inputs: What went in; JSON.
        outputs: What came out; JSON.
        parameters: How it was done; JSON.
        success: Whether it worked; None if that cannot be said.
        tags: To find it by.
        decision_id: The decision it belongs to (MEM-1).
        at_ms: When.
    """

    record_id: Name
    name: Name
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    success: bool | None = None
    tags: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=16)] = ()
    decision_id: str | None = None
    at_ms: int


class ForeignExperience(_Entry, frozen=True, kw_only=True):
    """What a peer said of a decision of its own (MEM-3): it has an origin and half weight, and is never ours.

    Args:
        msg_id: Of its DECISION_SHARE.
        origin: Fingerprint of the peer.
        decision_id: The peer's.
        choice: What it chose.
        outcome: What came of it, as it says.
        context: In which context; JSON.
        retrospective: What it makes of it.
        at_ms: When it came here.
    """

    msg_id: Name
    origin: Name
    decision_id: str
    choice: Name
    outcome: Name
    context: dict[str, Any] = {}
    retrospective: Annotated[str, Meta(max_length=512)] = ""
    at_ms: int


Kind = Literal["claim", "experience", "foreign"]
"""The kinds of records: what is bounded together (MEM-2)."""
Remembered = RememberedClaim | Experience | ForeignExperience


def experience(
    *,
    record_id: str,
    name: str,
    at_ms: int,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    parameters: dict[str, Any] | None = None,
    success: bool | None = None,
    tags: tuple[str, ...] = (),
    decision_id: str | None = None,
) -> Experience:
    """Make an experience that every journal takes. Pure. See `Experience` for the arguments.

    Raises:
        ValueError: One of the details has no canonical form.
    """
    return Experience(
        record_id=record_id,
        name=cut(name),
        inputs=kept(inputs or {}),
        outputs=kept(outputs or {}),
        parameters=kept(parameters or {}),
        success=success,
        tags=tuple(one[:64] for one in tags[:16]),
        decision_id=decision_id,
        at_ms=at_ms,
    )


def cut(text: str, most: int = MOST_NAME) -> str:
    """Give `text`, or its beginning if it is too long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def kept(detail: dict[str, Any]) -> dict[str, Any]:
    """Give `detail`, or what is kept of it if it is too large: its BLAKE3 and its size.

    Raises:
        ValueError: It has no canonical form.
    """
    data = canonical(detail)
    if len(data) <= MOST_DETAIL:
        return detail
    return {"blake3": blake3_hex(data), "bytes": len(data)}


def size_of(entry: Remembered) -> int:
    """Give the canonical bytes of an entry: what it counts for in the bound of bytes."""
    return len(canonical(entry))
