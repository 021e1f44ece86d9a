"""The TrustFSM against a plain model: any commands, at any times, lead to the same state in both (section 9)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.trust.examples import ENVELOPE, KEYS, NOW
from tests.trust.plain_model import PlainTrust
from web4.foundation.logic import replay
from web4.trust import (
    Anchored,
    AuthFailure,
    Conflict,
    HandshakeOk,
    Introduced,
    IntroducerLost,
    KnowledgeVerified,
    LocalAlignment,
    MaliciousEvidence,
    ManualOverride,
    OperatorBlock,
    OperatorPromote,
    TrustCommand,
    TrustCommandError,
    TrustFSM,
    TrustState,
    TrustViolationError,
    Unverifiable,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000
FRIENDS = ("c" * 64, "d" * 64)
STEPS_S = (-86_400, -3_600, -1, 0, 0.001, 59, 60, 600, 600.001, 3_600, 86_400)
STEPS_MS = st.sampled_from([round(SECOND * step) for step in STEPS_S])
"""Both sides of what the rules of time turn on, and a clock that goes back."""
NAMES = st.sampled_from(["grace", "", "  "])
STATES = st.sampled_from(["unknown", "untrusted", "probing", "trusted", "blacklisted"])


class TrustMachine(RuleBasedStateMachine):
    """Plays the same commands to the machine and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.fsm = TrustFSM("a" * 64)
        self.model = PlainTrust()
        self.now = NOW

    def both(self, command: TrustCommand, model: Callable[..., str | None], *args: Any) -> None:
        """The same command to both: the same refusal, or the same state."""
        expected = model(*args)
        try:
            self.fsm.handle(command)
            refused = None
        except (TrustCommandError, TrustViolationError) as error:
            refused = error.code
        assert refused == expected, command

    @rule(step=STEPS_MS)
    def time_passes(self, step: int) -> None:
        self.now += step
        self.model.clock(self.now)

    @rule(allowed=st.booleans())
    def handshake(self, allowed: bool) -> None:
        self.both(HandshakeOk(at_ms=self.now, newcomer_allowed=allowed), self.model.handshake, allowed)

    @rule(by=st.sampled_from(FRIENDS), held=STATES, allowed=st.booleans())
    def introduced(self, by: str, held: TrustState, allowed: bool) -> None:
        command = Introduced(at_ms=self.now, introducer=by, introducer_state=held, newcomer_allowed=allowed)
        self.both(command, self.model.introduced, by, held, allowed)

    @rule(by=st.sampled_from(FRIENDS))
    def introducer_lost(self, by: str) -> None:
        self.both(IntroducerLost(at_ms=self.now, introducer=by), self.model.introducer_lost, by)

    @rule(key=st.sampled_from(["", KEYS[0]]))
    def knowledge_verified(self, key: str) -> None:
        self.both(KnowledgeVerified(at_ms=self.now, claim_key=key), self.model.knowledge_verified, key)

    @rule(keys=st.sampled_from([(), KEYS[:1], (KEYS[0], KEYS[0]), KEYS]))
    def local_alignment(self, keys: tuple[str, ...]) -> None:
        self.both(LocalAlignment(at_ms=self.now, claim_keys=keys), self.model.local_alignment, keys)

    @rule()
    def unverifiable(self) -> None:
        command = Unverifiable(at_ms=self.now, claim_key=KEYS[0], challenger=FRIENDS[0])
        self.both(command, self.model.unverifiable)

    @rule(
        confidence=st.sampled_from([0.0, 0.89, 0.9, 1.0]), confirmers=st.integers(0, 3), cites=st.booleans()
    )
    def conflict(self, confidence: float, confirmers: int, cites: bool) -> None:
        command = Conflict(
            at_ms=self.now,
            claim_key=KEYS[0],
            confidence=confidence,
            confirmers=confirmers,
            evidence=(ENVELOPE,) if cites else (),
        )
        self.both(command, self.model.conflict, confidence, confirmers, cites)

    @rule(session=st.sampled_from(["", "s1"]))
    def auth_failure(self, session: str) -> None:
        command = AuthFailure(at_ms=self.now, session_id=session, reason="signature")
        self.both(command, self.model.auth_failure, session)

    @rule(cites=st.booleans(), allowed=st.booleans())
    def malicious_evidence(self, cites: bool, allowed: bool) -> None:
        command = MaliciousEvidence(
            at_ms=self.now,
            reason="equivocation",
            evidence=(ENVELOPE,) if cites else (),
            newcomer_allowed=allowed,
        )
        self.both(command, self.model.malicious_evidence, cites, allowed)

    @rule()
    def anchored(self) -> None:
        self.both(Anchored(at_ms=self.now), self.model.anchored)

    @rule(human=NAMES, reason=NAMES)
    def promote(self, human: str, reason: str) -> None:
        command = OperatorPromote(at_ms=self.now, human=human, reason=reason)
        self.both(command, self.model.promote, human, reason)

    @rule(human=NAMES, reason=NAMES)
    def block(self, human: str, reason: str) -> None:
        self.both(OperatorBlock(at_ms=self.now, human=human, reason=reason), self.model.block, human, reason)

    @rule(human=NAMES, reason=NAMES)
    def override(self, human: str, reason: str) -> None:
        command = ManualOverride(at_ms=self.now, human=human, reason=reason)
        self.both(command, self.model.override, human, reason)

    @invariant()
    def the_same(self) -> None:
        record = self.fsm.record
        assert record.state == self.model.state
        assert record.seq == self.model.events
        assert self.fsm.logic.cooldown_left_ms(record, self.now) == self.model.cooldown_left_ms()
        assert record.revoked == self.model.revoked
        assert record.introducer == self.model.introducer
        assert record.handshaken == self.model.handshaken

    @invariant()
    def its_log_rebuilds_it(self) -> None:
        """TRUST-7: by replay alone, without limits or clock."""
        assert replay(self.fsm.logic, self.fsm.log, base=self.fsm.base) == self.fsm.record


TrustMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("WEB4_ROUNDS", "60")), stateful_step_count=40, deadline=None
)
TestTrustMachine = TrustMachine.TestCase
