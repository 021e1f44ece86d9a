"""Between a session's handshake logic and its messages: nonces, transcripts, signatures (HS-1)."""

from __future__ import annotations

import base64
from collections import deque
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from web4.foundation.errors import SignatureMismatchError
from web4.foundation.identity import verify
from web4.protocols.cip.agreement import Offer
from web4.protocols.cip.handshake import HelloArrived, PutOff, Refused, VerifyArrived
from web4.protocols.cip.proof import PURPOSE, HelloFacts, Role, respond, transcript
from web4.protocols.messages import cip as m

if TYPE_CHECKING:
    from web4.protocols.cip.context import CipContext, SessionFacts
    from web4.protocols.cip.handshake import HandshakeState
    from web4.protocols.cip.validation import Incoming


def _in_common(ours: Offer, hello: m.Hello) -> Offer:
    """Give what a HELLO offers that this node offers too.

    The rest plays no part in the agreement and is signed by its digest; a HELLO of 192 KiB of names would otherwise
    stay in the state and in every step's event.
    """
    protocols, capabilities = set(hello.protocols), set(hello.capabilities)
    return Offer(
        protocols=tuple(name for name in ours.protocols if name in protocols),
        capabilities=tuple(name for name in ours.capabilities if name in capabilities),
        features=hello.features,
    )


class HandshakeDriver:
    """Reads and writes the handshake messages of one session."""

    def __init__(self, context: CipContext, facts: SessionFacts) -> None:
        self._context = context
        self._facts = facts
        self._own_ids: deque[str] = deque(maxlen=4)

    @property
    def role(self) -> Role:
        """This node's role: the RTT initiator is the CIP initiator."""
        return "initiator" if self._facts.initiator else "responder"

    def sent(self, msg_id: str) -> None:
        """Remember a HELLO or VERIFY of ours: an ERROR about it concerns the handshake."""
        self._own_ids.append(msg_id)

    def fresh(self) -> HelloFacts:
        """Draw a nonce and a challenge for a HELLO of this node."""
        return HelloFacts(
            nonce=base64.b64encode(self._context.ids.token(32)).decode("ascii"),
            challenge=base64.b64encode(self._context.ids.token(32)).decode("ascii"),
            offer=self._context.options.offer,
        )

    def hello(self, own: HelloFacts) -> m.Hello:
        """Give the initiator's HELLO, which answers no challenge."""
        return m.Hello(
            protocols=own.offer.protocols,
            capabilities=own.offer.capabilities,
            features=own.offer.features,
            session_nonce=own.nonce,
            challenge=own.challenge,
        )

    def answering_hello(self, own: HelloFacts, peer: HelloFacts) -> m.Hello:
        """Give the responder's HELLO, with its response to the initiator's."""
        signed = self._transcript("responder", hello_i=peer, hello_r=own)
        return msgspec.structs.replace(
            self.hello(own), challenge_response=respond(self._context.identity, signed)
        )

    def verify(self, own: HelloFacts, peer: HelloFacts) -> m.Verify:
        """Give the initiator's VERIFY."""
        signed = self._transcript("initiator", hello_i=own, hello_r=peer)
        return m.Verify(
            challenge_response=respond(self._context.identity, signed),
            nonce_initiator=own.nonce,
            nonce_responder=peer.nonce,
        )

    def read(
        self, incoming: Incoming, state: HandshakeState | None, at_ms: int
    ) -> HelloArrived | VerifyArrived | PutOff | Refused | None:
        """Say what a message means for the handshake, verdict on its response included; None if nothing."""
        match incoming.message:
            case m.HelloEnvelope(payload=hello):
                return self._read_hello(incoming, hello, state, at_ms)
            case m.VerifyEnvelope(payload=answer):
                return VerifyArrived(
                    session_id=self._facts.session_id,
                    at_ms=at_ms,
                    nonce_initiator=answer.nonce_initiator,
                    nonce_responder=answer.nonce_responder,
                    proof=self._proves_initiator(answer, state),
                    timestamp_ms=incoming.timestamp_ms,
                )
            case m.ErrorEnvelope(payload=error) if error.msg_id in self._own_ids:
                return self._read_error(error, at_ms)
        return None

    def _read_hello(
        self, incoming: Incoming, hello: m.Hello, state: HandshakeState | None, at_ms: int
    ) -> HelloArrived:
        said = HelloFacts(
            nonce=hello.session_nonce,
            challenge=hello.challenge,
            offer=_in_common(self._context.options.offer, hello),
            digest=incoming.digest,
        )
        proof: bool | None = None
        if hello.challenge_response is not UNSET:
            proof = self._proves_responder(hello.challenge_response, said, state)
        return HelloArrived(
            session_id=self._facts.session_id,
            at_ms=at_ms,
            hello=said,
            timestamp_ms=incoming.timestamp_ms,
            proof=proof,
            answer=None if self._facts.initiator else self.fresh(),
        )

    def _read_error(self, error: m.Error, at_ms: int) -> PutOff | Refused:
        session_id = self._facts.session_id
        if error.retry_after_ms is UNSET:
            return Refused(session_id=session_id, at_ms=at_ms, code=error.code)
        return PutOff(
            session_id=session_id,
            at_ms=at_ms,
            code=error.code,
            retry_after_ms=error.retry_after_ms,
            by_peer=True,
        )

    def _proves_responder(self, response: str, said: HelloFacts, state: HandshakeState | None) -> bool:
        if not self._facts.initiator or state is None or state.phase != "hello_sent" or state.own is None:
            return False
        return self._proves(response, self._transcript("responder", hello_i=state.own, hello_r=said))

    def _proves_initiator(self, answer: m.Verify, state: HandshakeState | None) -> bool:
        if self._facts.initiator or state is None or state.phase != "verifying":
            return False
        if state.own is None or state.peer is None:
            return False
        signed = self._transcript("initiator", hello_i=state.peer, hello_r=state.own)
        return self._proves(answer.challenge_response, signed)

    def _proves(self, response: str, signed: bytes) -> bool:
        """Turn the verification's error into the verdict that the handshake logic takes as input."""
        try:
            verify(
                self._facts.public_key,
                signed,
                base64.b64decode(response),
                protocol="cip",
                version=m.VERSION,
                purpose=PURPOSE,
            )
        except SignatureMismatchError:
            return False
        return True

    def _transcript(self, role: Role, *, hello_i: HelloFacts, hello_r: HelloFacts) -> bytes:
        own, peer = self._context.identity.fingerprint, self._facts.peer
        return transcript(
            role,
            binding=self._facts.binding,
            initiator=own if self._facts.initiator else peer,
            responder=peer if self._facts.initiator else own,
            hello_i=hello_i,
            hello_r=hello_r,
        )
