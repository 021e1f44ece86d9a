"""The one spelling of the state of lane `knowledge` (JRN-7): equal states give equal bytes, in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from immutables import Map

from web4.foundation.digest import canonical
from web4.protocols.knowledge.ledger.claims import Claim, Vote
from web4.protocols.knowledge.ledger.counting import PeerSeen
from web4.protocols.knowledge.ledger.evaluation import Load
from web4.protocols.knowledge.ledger.rounds import KnowledgeState
from web4.protocols.knowledge.ledger.state import LedgerState, indexes_of
from web4.protocols.knowledge.memory.shelf import Shelf, shelf_of
from web4.protocols.knowledge.memory.storing import MemoryForm, restored_memory, stored_memory
from web4.protocols.knowledge.sources.tiers import Source

if TYPE_CHECKING:
    from collections.abc import Iterable


class _Parked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ref: str
    vote: Vote


class _Form(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    claims: tuple[Claim, ...] = ()
    """By order of arrival."""
    parked: tuple[_Parked, ...] = ()
    """Oldest first."""
    peers: dict[str, PeerSeen] = {}
    sources: dict[str, Source] = {}
    load: Load = Load()
    aligned: dict[str, tuple[str, ...]] = {}
    accepted: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    rechecks: tuple[str, ...] = ()
    dirty: tuple[str, ...] = ()
    order: int = 0
    memory: MemoryForm = MemoryForm()


_FORMS: Final = msgspec.json.Decoder(_Form)


def encode_state(state: KnowledgeState) -> bytes:
    """Write a state as canonical JSON."""
    ledger = state.ledger
    waiting = [place.partition(" ") for place in ledger.waiting]
    return canonical(
        _Form(
            claims=tuple(sorted(ledger.claims.values(), key=lambda claim: (claim.order, claim.key))),
            parked=tuple(_Parked(ref, ledger.parked[ref][peer]) for peer, _, ref in waiting),
            peers=dict(ledger.peers),
            sources=dict(ledger.sources),
            load=ledger.load,
            aligned=dict(ledger.aligned),
            accepted=tuple(ledger.accepted),
            rejected=tuple(ledger.rejected),
            rechecks=tuple(ledger.rechecks),
            dirty=tuple(ledger.dirty),
            order=ledger.order,
            memory=stored_memory(state.memory),
        )
    )


def decode_state(data: bytes) -> KnowledgeState:
    """Read what `encode_state` writes; the indexes are built anew.

    Raises:
        ValueError: It is something else.
    """
    try:
        form = _FORMS.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    ledger = LedgerState(
        claims=Map({claim.key: claim for claim in form.claims}),
        index=indexes_of(form.claims),
        peers=Map(form.peers),
        sources=Map(form.sources),
        load=form.load,
        aligned=Map(form.aligned),
        order=form.order,
    )
    parked: dict[str, dict[str, Vote]] = {}
    for one in form.parked:
        parked.setdefault(one.ref, {})[one.vote.peer] = one.vote
    ledger = ledger.with_(
        parked=Map({ref: Map(votes) for ref, votes in parked.items()}),
        waiting=_queue(f"{one.vote.peer} {one.ref}" for one in form.parked),
        accepted=_queue(form.accepted),
        rejected=_queue(form.rejected),
        rechecks=_queue(form.rechecks),
        dirty=_queue(form.dirty),
    )
    return KnowledgeState(ledger, restored_memory(form.memory))


def named_by_claims(document: dict[str, Any]) -> dict[str, Any]:
    """Bring a state of version 1 up to 2: by which ids votes name claims is worked out from the claims."""
    return {name: value for name, value in document.items() if name != "refs"}


def _queue(names: Iterable[str]) -> Shelf[str, None]:
    return shelf_of((name, None) for name in names)
