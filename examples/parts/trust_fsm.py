"""`TrustFSM`: what moves a peer's trust, what does not, and the log that rebuilds it.

Prints

    handshake_ok         unknown -> probing
    knowledge_verified   probing -> trusted
    conflict             trusted -> probing
    auth_failure         probing -> untrusted
    a handshake in cooldown raises nobody: untrusted, again in 60000 ms
    without a name: human_required
    rebuilt from 5 events: untrusted
"""

import time

from web4 import TrustFSM
from web4.trust import (
    AuthFailure,
    Conflict,
    HandshakeOk,
    KnowledgeVerified,
    OperatorPromote,
    TrustCommandError,
)

now = time.time_ns() // 1_000_000
bob = TrustFSM("b0" * 32)
key = "c1" * 32
for command in (
    HandshakeOk(at_ms=now),
    KnowledgeVerified(at_ms=now, claim_key=key),
    Conflict(at_ms=now, claim_key=key),
    AuthFailure(at_ms=now, session_id="s1", reason="signature"),
):
    event = bob.handle(command).event
    print(f"{event.event:20} {event.from_} -> {event.to}")

barred = bob.handle(HandshakeOk(at_ms=now))
print(f"a handshake in cooldown raises nobody: {barred.state}, again in {barred.retry_after_ms} ms")
try:
    bob.handle(OperatorPromote(at_ms=now, human="", reason="I know them"))
except TrustCommandError as error:
    print("without a name:", error.code)

again = TrustFSM.rebuilt(bob.peer, bob.log)
assert again.record == bob.record
print(f"rebuilt from {len(bob.log)} events: {again.state}")
