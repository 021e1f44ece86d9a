"""A node around a router: a real inbox and real trust, and what was sent and settled written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from tests.protocols.cip.examples import EVERYTHING, PAYLOADS, reception, sealed
from tests.protocols.messages.test_vocabulary import ALL, beside
from web4.foundation.ids import SeededIds
from web4.journal.errors import JournalUnavailable
from web4.protocols.cip import Agreement, Inbox
from web4.protocols.cip.actions import Delivery
from web4.protocols.cip.intents import refuse_all
from web4.protocols.cip.validation import validate
from web4.protocols.gates import GATES
from web4.protocols.messages.vocabulary import type_of
from web4.testing.clocks import START_MS
from web4.trust import Anchored, TrustRegistry

if TYPE_CHECKING:
    from web4.protocols.cip.intents import AcceptIntent
    from web4.protocols.messages.vocabulary import AgentPayload
    from web4.protocols.router.ports import SettledAs
    from web4.trust import TrustCommand, TrustOutcome, TrustState

EXAMPLES: dict[str, Any] = {**{name: those[0] for name, those in PAYLOADS.items()}, **ALL}
"""One payload of every type of CIP, HCP and LIP."""
IDS = SeededIds("router tests")
ADA, BOB, EVE = "a" * 64, "b" * 64, "e" * 64


def delivery(
    payload: AgentPayload | None = None,
    *,
    peer: str = ADA,
    trust: TrustState = "trusted",
    corr_id: str | None = None,
    msg_id: str | None = None,
) -> Delivery:
    """A message that passed validation: sealed, signed and read back."""
    payload = PAYLOADS["INTENT"][0] if payload is None else payload
    name = type_of(payload).name
    optional: dict[str, Any] = {} if corr_id is None else {"corr_id": corr_id}
    if type_of(payload).protocol != "cip":
        optional["about"] = beside(name)
    data = sealed(payload, msg_id=msg_id or IDS.uuid4(), **optional)
    accepted = validate(data, reception(type_of(payload).channel))
    admission = GATES[name][trust]
    return Delivery(peer, trust, admission, accepted.message, accepted.digest, len(data), START_MS)


@dataclass
class Host:
    """See `RouterHost`."""

    offer: Any = EVERYTHING
    refuses: Exception | None = None
    """What sending raises."""
    journal_down: bool = False

    def __post_init__(self) -> None:
        self.inbox = Inbox(per_peer=256, total=4_096, bytes_per_peer=1 << 22, bytes_total=1 << 26)
        self.trust = TrustRegistry()
        self.accept_intent: AcceptIntent = refuse_all
        self.sent: list[tuple[str, Any, str | None]] = []
        self.ids_sent: list[str] = []
        self.settlements: list[tuple[str, SettledAs]] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.said: list[tuple[str, TrustCommand, str | None]] = []
        self._heard = trio.lowlevel.ParkingLot()

    def trusts(self, *peers: str) -> Host:
        for peer in peers:
            self.trust.handle(peer, Anchored(at_ms=START_MS))
        return self

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def agreement(self, peer: str) -> Agreement | None:
        return Agreement(
            protocols=self.offer.protocols, capabilities=self.offer.capabilities, features=self.offer.features
        )

    async def send(
        self,
        peer: str,
        payload: Any,
        *,
        corr_id: str | None = None,
        about: Any = None,
        msg_id: str | None = None,
    ) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append((peer, payload, corr_id))
        self.ids_sent.append(msg_id or IDS.uuid4())
        return self.ids_sent[-1]

    async def trust_command(
        self, peer: str, command: TrustCommand, *, cause: str | None = None
    ) -> TrustOutcome:
        self.said.append((peer, command, cause))
        return self.trust.handle(peer, command)

    async def settled(self, delivery: Delivery, status: SettledAs) -> None:
        if self.journal_down:
            raise JournalUnavailable("the disk is full", code="no_space")
        self.settlements.append((delivery.msg_id, status))
        self._heard.unpark_all()

    async def until_settled(self, count: int) -> None:
        """Wait until so many messages are settled."""
        while len(self.settlements) < count:
            await self._heard.park()
