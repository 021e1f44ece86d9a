"""Two nodes, a message of every type, and a pair of sessions that talk in memory, as the CIP tests use them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from web4.foundation.identity import Identity
from web4.foundation.ids import SeededIds
from web4.protocols.cip.actions import (
    Action,
    Arm,
    AskIntent,
    Close,
    Deliver,
    Established,
    Report,
    Send,
    TakenTogether,
    receipted,
)
from web4.protocols.cip.agreement import Offer
from web4.protocols.cip.context import CipContext, SessionFacts
from web4.protocols.cip.options import CipOptions
from web4.protocols.cip.outbox.bodies import attempts, timestamp
from web4.protocols.cip.peer import Peer
from web4.protocols.cip.sealing import Sealed, seal
from web4.protocols.cip.session import CipSession
from web4.protocols.cip.validation import Reception
from web4.protocols.messages import cip as m
from web4.protocols.messages.fields import Party, Provenance, StateClaim
from web4.testing import ManualClock
from web4.testing.clocks import START_MS
from web4.trust import TrustRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from web4.protocols.messages.vocabulary import AgentPayload, ChannelKind

ADA = Identity.from_seed(b"a" * 32)
BOB = Identity.from_seed(b"b" * 32)
EVE = Identity.from_seed(b"e" * 32)
BINDING = b"\x07" * 32
SESSION = "5e" * 16
EVERYTHING = Offer(
    capabilities=("state_exchange", "knowledge_exchange", "dmp_trace"),
    features=m.Features(supports_mesh=False, supports_multiplex=True),
)
NONCE = base64.b64encode(b"n" * 32).decode()
CHALLENGE = base64.b64encode(b"c" * 32).decode()
RESPONSE = base64.b64encode(b"r" * 64).decode()
MSG_ID = "6f1c2a34-9d0e-4c5b-8a7f-001122334455"
CLAIM_KEY = "0f" * 32
TRACE = m.DmpTrace(
    decision_id="11111111-2222-1333-9444-555555555555", steps=("saw it",), counterfactuals=(), evidence=()
)
FACT = m.Fact(
    statement="L'eau bout à 100 °C 💧 — naïve \u202etext\u202c",
    domain="physics",
    confidence=0.1 + 0.2,
    sources=(),
    context={"pressure": 101325, "unit": "Pa", "nested": [[], {}, None, 1e-7, True]},
    triple=m.Triple(subject="water", predicate="boils_at", object="100 °C", functional=True),
)
FETCHED = Provenance(
    uri="https://example.org/a",
    final_uri="https://example.org/b",
    retrieved_at="2027-01-15T08:00:00.000Z",
    status=200,
    content_type="text/html",
    body_blake3=CLAIM_KEY,
    body_bytes=0,
)
VOTES: tuple[m.VoteEvidence, ...] = (
    m.MemoryEvidence(ref="m1"),
    m.FetchEvidence(ref="f1", provenance=FETCHED),
    m.HumanEvidence(ref="h1"),
)
HELLO = m.Hello(
    protocols=EVERYTHING.protocols,
    capabilities=EVERYTHING.capabilities,
    features=EVERYTHING.features,
    session_nonce=NONCE,
    challenge=CHALLENGE,
)
INTENT = m.Intent(goal="ask", topic="wetter/日本", priority="normal", context={})

PAYLOADS: dict[str, list[m.Payload]] = {
    "HELLO": [HELLO],
    "VERIFY": [m.Verify(challenge_response=RESPONSE, nonce_initiator=NONCE, nonce_responder=CHALLENGE)],
    "ERROR": [m.Error(code="gate"), m.Error(code="deferred", msg_id=MSG_ID, retry_after_ms=0)],
    "RECEIPT": [m.Receipt(msg_ids=(MSG_ID,)), m.Receipt(msg_ids=(MSG_ID,) * 256)],
    "STATE_UPDATE": [
        m.StateUpdate(presence="focused", lri=0, ltppeerstate="probing", kernel_signals=(), intent=""),
        m.StateUpdate(
            presence="overloaded", lri=100, ltppeerstate="trusted", kernel_signals=("heat",), intent="☃"
        ),
    ],
    "INTENT": [INTENT],
    "REPLY": [
        m.Reply(in_reply_to=MSG_ID, status="accepted", reason=""),
        m.Reply(
            in_reply_to=MSG_ID,
            status="done",
            reason="ok",
            retry_after_ms=2**53 - 1,
            content={"x": 0.5, "": "\u0000"},
        ),
    ],
    "FACT_PROPOSE": [m.FactPropose(fact=FACT, dmp_trace=TRACE, causal_links=())],
    "FACT_CHALLENGE": [m.FactChallenge(fact_ref=MSG_ID, reason="cannot_verify", notes="")],
    "FACT_CONFIRM": [
        m.FactConfirm(fact_ref=CLAIM_KEY, decision="confirm", confidence=1, evidence=VOTES, notes="")
    ],
    "FACT_REJECT": [
        m.FactReject(fact_ref=CLAIM_KEY, decision="reject", confidence=0, evidence=(), notes="é")
    ],
    "DECISION_SHARE": [
        m.DecisionShare(
            decision=m.SharedDecision(choice="a", outcome="b", context={}), dmp_trace=TRACE, retrospective=""
        )
    ],
}
"""At least one message of every type."""


def sealed(
    payload: AgentPayload,
    *,
    sender: Identity = ADA,
    receiver: Identity = BOB,
    now_ms: int = START_MS,
    msg_id: str = MSG_ID,
    **optional: Any,
) -> bytes:
    """A signed envelope from `sender` to `receiver`."""
    return seal(
        sender,
        payload,
        agent_id="ada",
        receiver=Party(agent_id="bob", fingerprint=receiver.fingerprint),
        msg_id=msg_id,
        now_ms=now_ms,
        **optional,
    ).data


def reception(channel: ChannelKind, *, now_ms: int = START_MS, **more: Any) -> Reception:
    """What Bob knows when something comes from Ada."""
    known: dict[str, Any] = {
        "local": BOB.fingerprint,
        "peer": ADA.fingerprint,
        "public_key": ADA.public_key,
        "channel": channel,
        "now_ms": now_ms,
        **more,
    }
    return Reception(**known)


@dataclass
class Node:
    """A node without network: a context, the events it emitted, and one session's outputs."""

    identity: Identity
    clock: ManualClock
    seed: str
    options: CipOptions = field(default_factory=lambda: CipOptions(agent_id="node", offer=EVERYTHING))
    binding: bytes = field(default=BINDING, repr=False)
    session_id: str = SESSION
    room: bool = True

    def __post_init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.trust = TrustRegistry(emit=self.emit)
        self.context = CipContext(
            identity=self.identity,
            options=self.options,
            clock=self.clock,
            ids=SeededIds(self.seed),
            emit=self.emit,
            trust=self.trust,
            room=lambda _peer, *_beside: self.room,
        )
        self.peers: dict[str, Peer] = {}
        self.sent: list[Sealed] = []
        self.deliveries: list[Deliver] = []
        self.asked: list[AskIntent] = []
        self.established: list[Established] = []
        self.closed: str | None = None
        self.armed: Arm | None = None

    def emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def kinds(self, *wanted: str) -> list[str]:
        """The types of the events so far; only those that are wanted, if any are named."""
        return [kind for kind, _ in self.events if not wanted or kind in wanted]

    def peer(self, fingerprint: str) -> Peer:
        if fingerprint not in self.peers:
            self.peers[fingerprint] = Peer(
                fingerprint, trust=self.trust, options=self.options, emit=self.emit
            )
        return self.peers[fingerprint]

    def open(self, other: Identity, *, initiator: bool) -> CipSession:
        """A session with `other`."""
        self.other = other
        self.session = CipSession(
            self.context,
            self.peer(other.fingerprint),
            SessionFacts(
                session_id=self.session_id,
                peer=other.fingerprint,
                public_key=other.public_key,
                binding=self.binding,
                initiator=initiator,
            ),
        )
        return self.session

    def be(self, presence: Any) -> None:
        """Change how the node is."""
        self.context.state = StateClaim(presence=presence, lri=50, kernel_signals=(), intent="")

    def trust_of_other(self) -> str:
        return self.trust.state(self.other.fingerprint)

    def do(self, actions: list[Action]) -> list[tuple[ChannelKind, Sealed]]:
        """Note what is asked for; what is to be sent comes back."""
        out: list[tuple[ChannelKind, Sealed]] = []
        receipts = receipted(actions)
        receipt = self.session.receipt(receipts) if receipts else None
        if receipt is not None:
            out.append(("control", receipt))
        for action in actions:
            match action:
                case Report(kind=kind, fields=fields):
                    self.emit(kind, **fields)
                case Send(channel=channel, sealed=letter):
                    out.append((channel, letter))
                    self.sent.append(letter)
                    self.session.sent(letter)
                case TakenTogether(deliveries=deliveries):
                    self.deliveries += [Deliver(delivery) for delivery in deliveries]
                case Deliver():
                    self.deliveries.append(action)
                case AskIntent():
                    self.asked.append(action)
                case Established():
                    self.established.append(action)
                case Arm():
                    self.armed = action
                case Close(reason=reason):
                    self.closed = reason
        return out + self._pumped()

    def _pumped(self) -> list[tuple[ChannelKind, Sealed]]:
        """What the outbox has to say."""
        out: list[tuple[ChannelKind, Sealed]] = []
        queue = self.peer(self.other.fingerprint).queue
        for entry in queue.next(256, 2**20, low=True):
            queue.fly([entry])
            now = timestamp(self.clock.wall_ms())
            body = (entry.body or "").encode()
            (letter,) = attempts(self.identity, [(entry, body)], [now], self.options.envelope_bytes)
            out.append((entry.channel, letter))
            self.sent.append(letter)
            self.session.sent(letter)
        return out


class Pair:
    """Ada dials Bob; what one sends reaches the other in order, unless `lose` says otherwise."""

    def __init__(self, *, seed: str = "seed", **bob: Any) -> None:
        self.clock = ManualClock()
        self.ada = Node(ADA, self.clock, seed + "ada")
        self.bob = Node(BOB, self.clock, seed + "bob", **bob)
        self.wire: list[tuple[Node, ChannelKind, Sealed]] = []
        self.transcript: list[tuple[str, bytes]] = []
        self.lose: Callable[[Sealed], bool] = lambda _sealed: False
        self.alter: Callable[[Node, Sealed], bytes] = lambda _to, sealed: sealed.data
        self.ada.open(BOB, initiator=True)
        self.bob.open(ADA, initiator=False)

    def start(self) -> Pair:
        """Begin on both sides and let them talk."""
        self.act(self.bob, self.bob.session.start())
        self.act(self.ada, self.ada.session.start())
        return self.talk()

    def act(self, node: Node, actions: list[Action]) -> None:
        other = self.bob if node is self.ada else self.ada
        for channel, letter in node.do(actions):
            self.transcript.append((letter.type, letter.data))
            self.wire.append((other, channel, letter))

    def talk(self) -> Pair:
        """Carry messages until nobody has anything left to say."""
        while self.wire:
            to, channel, letter = self.wire.pop(0)
            if not self.lose(letter) and to.closed is None:
                self.act(to, to.session.receive(self.alter(to, letter), channel))
        return self

    def wait(self, node: Node) -> Pair:
        """Let the deadline that `node` has armed pass."""
        assert node.armed is not None
        assert node.armed.after_ms is not None
        self.clock.advance(node.armed.after_ms)
        self.act(node, node.session.deadline(node.armed.step))
        return self.talk()

    def say(self, node: Node, payload: m.Payload, **optional: Any) -> Sealed:
        """Let `node` send `payload`, and carry what follows."""
        letter, actions = node.session.send(payload, **optional)
        self.act(node, actions)
        self.talk()
        return letter
