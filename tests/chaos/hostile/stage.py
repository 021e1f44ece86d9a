"""What every attack is given: victims, identities, chance; and what it says it did."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from tests.chaos.hostile.intruder import intruder
from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.chaos.hostile.intruder import Intruder, Victim

    Attack = Callable[["Stage", int], Awaitable[None]]

ADDRESSES: Final = 200
"""Addresses of the loopback that the attacker dials from, beside that of the honest."""


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What an identity did to a victim, and what has to come of it.

    Args:
        who: Fingerprint of the hostile identity.
        victim: Name of the honest node.
        states: How it may be trusted there afterwards.
        cut: Whether the victim ended the session by itself; None if it need not.
        told: What the victim answered, by code.
    """

    who: str
    victim: str
    states: tuple[str, ...]
    cut: bool | None = None
    told: dict[str, int] = msgspec.field(default_factory=dict)


class Stage:
    """One run of an attack.

    Args:
        seed: Makes its identities and choices.
        victims: The honest nodes.
        insiders: Seeds of identities that the honest nodes were made to trust.
        claims: Keys of honest claims.
    """

    def __init__(self, seed: str, victims: list[Victim], insiders: list[str], claims: list[str]) -> None:
        self.rng = random.Random(seed)
        self.victims = victims
        self.claims = claims
        self.deeds: list[Deed] = []
        self.sent = 0
        """Messages, or connections, that it took."""
        self._insiders = list(insiders)
        self._seed = seed
        self._sybils = 0

    @property
    def victim(self) -> Victim:
        """One of them."""
        return self.rng.choice(self.victims)

    @asynccontextmanager
    async def sybil(self) -> AsyncIterator[Intruder]:
        """An identity that nobody has seen before."""
        self._sybils += 1
        async with intruder(identity_of(f"{self._seed}/sybil {self._sybils}"), self.address()) as it:
            yield it

    @asynccontextmanager
    async def insider(self) -> AsyncIterator[Intruder]:
        """An identity that the honest nodes trust, until it shows what it is."""
        async with intruder(identity_of(self._insiders.pop(0)), self.address()) as it:
            yield it

    def address(self) -> str:
        """One of the attacker's addresses."""
        return f"127.0.1.{self.rng.randrange(1, ADDRESSES)}"

    def did(self, it: Intruder, victim: Victim, *states: str, cut: bool | None = None, **told: int) -> None:
        """Say what was done, so that the victim is asked."""
        self.deeds.append(
            Deed(who=it.fingerprint, victim=victim.name, states=states, cut=cut, told=dict(told))
        )


def identity_of(seed: str) -> Identity:
    """The identity of a seed."""
    return Identity.from_seed(SeededIds(f"key of {seed}").token(32))


def intent(topic: str = "what is new", **context: str) -> m.Intent:
    """A question."""
    return m.Intent(goal="ask", topic=topic, priority="high", context=dict(context))


def trace(decision_id: str) -> m.DmpTrace:
    """How a decision is said to have come about."""
    return m.DmpTrace(decision_id=decision_id, steps=("made up",), counterfactuals=(), evidence=("none",))


def fact(
    statement: str, decision_id: str, *, domain: str = "hostile.example", value: str = ""
) -> m.FactPropose:
    """A fact; with `value` one that can have one object only."""
    triple = {}
    if value:
        triple["triple"] = m.Triple(subject="the door", predicate="is", object=value, functional=True)
    said = m.Fact(
        statement=statement, domain=domain, confidence=1.0, sources=("nowhere",), context={}, **triple
    )
    return m.FactPropose(fact=said, dmp_trace=trace(decision_id), causal_links=())


UNTOUCHED: Final = ("unknown", "untrusted", "probing")
"""What a stranger may be at most, whatever it says (TRUST-6, TRUST-10)."""
FAULTS: Final = 20
"""So many in a minute are borne (VAL-4)."""
