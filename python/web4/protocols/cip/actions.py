"""What a `CipSession` asks its runtime to do, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from web4.protocols.cip.mesh_path import DeliverMesh
from web4.protocols.cip.sealing import Sealed
from web4.protocols.gates import Admission
from web4.protocols.messages.cip import IntentEnvelope
from web4.protocols.messages.vocabulary import TYPES, AgentMessage, ChannelKind
from web4.trust import TrustState

if TYPE_CHECKING:
    from web4.protocols.cip.agreement import Agreement
    from web4.protocols.messages.vocabulary import Protocol


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """A message for the application: verified, never heard before, and let in by the gate.

    Its text is the peer's: data, never instructions (LIP-7).

    Args:
        peer: Fingerprint of the sender, proven by the session.
        trust: How far it was trusted when the message came.
        admission: How the gate lets it in: a fact of a probing peer `enters as pending` (TRUST-6).
        message: The typed envelope.
        digest: BLAKE3-256 of the envelope as received, in hex.
        size: Bytes of the envelope.
        received_ms: Time of arrival here, Unix milliseconds.
    """

    peer: str
    trust: TrustState
    admission: Admission
    message: AgentMessage
    digest: str
    size: int
    received_ms: int

    @property
    def protocol(self) -> Protocol:
        """The protocol of the message."""
        return TYPES[self.message.type].protocol

    @property
    def type(self) -> str:
        """The name of the message's type."""
        return self.message.type

    @property
    def msg_id(self) -> str:
        """The message's id."""
        return self.message.msg_id

    @property
    def corr_id(self) -> str | None:
        """The conversation it belongs to, if it names one."""
        return None if self.message.corr_id is UNSET else self.message.corr_id


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send these bytes on the channel of this kind. `urgent` ones are dropped rather than waited for."""

    channel: ChannelKind
    sealed: Sealed
    urgent: bool = False


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """Give a message to the application. Room for it was found before, except for an `optional` one."""

    delivery: Delivery
    optional: bool = False


class Receipted(msgspec.Struct, frozen=True, gc=False):
    """A message is durable here, and the peer is to be told so (OUT-3)."""

    msg_id: str


class TakenTogether(msgspec.Struct, frozen=True, gc=False):
    """Messages are durable here: the peer is to be told so (OUT-3), and the application is given them, in order.

    Room for all of them was found before.
    """

    deliveries: tuple[Delivery, ...]


class AskIntent(msgspec.Struct, frozen=True):
    """Let the application accept or refuse an INTENT, and say so by `CipSession.answer_intent`."""

    delivery: Delivery
    intent: IntentEnvelope


@dataclass(frozen=True, slots=True)
class Arm:
    """Call `CipSession.deadline(step)` after this many milliseconds; forget any earlier deadline."""

    step: int
    after_ms: int | None


@dataclass(frozen=True, slots=True)
class Established:
    """The session is established: open or accept its channels, and read them."""

    agreement: Agreement


@dataclass(frozen=True, slots=True)
class Close:
    """Close the session with this reason; whatever was asked for before has been done."""

    reason: str


class Report(msgspec.Struct, frozen=True, gc=False):
    """Emit an event (OBS-2): like an answer, not before what it tells of is durable."""

    kind: str
    fields: Mapping[str, Any]


Action = (
    DeliverMesh | Report | Send | Receipted | Deliver | TakenTogether | AskIntent | Arm | Established | Close
)


def receipted(actions: Iterable[Action]) -> list[str]:
    """The ids of the messages that the peer is to be told are durable here, in order."""
    msg_ids: list[str] = []
    for action in actions:
        if isinstance(action, TakenTogether):
            msg_ids += [delivery.message.msg_id for delivery in action.deliveries]
        elif isinstance(action, Receipted):
            msg_ids.append(action.msg_id)
    return msg_ids
