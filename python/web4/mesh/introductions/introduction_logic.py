"""Introductions as pure functions over lane `server` (ACT-1, MESH-10, MESH-11)."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from web4.foundation.identity import fingerprint
from web4.foundation.logic import Decision
from web4.mesh.introductions import introduction_state as s
from web4.mesh.introductions.introduction_events import (
    IntroductionEnded,
    IntroductionEvent,
    IntroductionForged,
    IntroductionHeard,
    IntroductionIssued,
    IntroductionWithdrawn,
    RevocationNoted,
    TrustAsked,
    TrustTold,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from web4.mesh.introductions.introduction_events import Act, EndReason

IntroductionDecision = Decision[IntroductionEvent, s.Verdict]


@dataclass(frozen=True)
class IntroductionsLogic:
    """Logic of the introductions' part of lane `server`."""

    initial: s.IntroductionsState = field(default_factory=s.IntroductionsState)

    def decide(  # noqa: PLR0911 - one for each command
        self, state: s.IntroductionsState, command: s.IntroductionCommand
    ) -> IntroductionDecision:
        """Say what follows."""
        match command:
            case s.HearIntroduction():
                return self._hear(state, command)
            case s.HearRevocation():
                return self._revoke(state, command)
            case s.EndExpired():
                due = [one for one in state.heard.values() if one.expires_ms <= command.at]
                return self._end(state, due, "expired", command.at)
            case s.EndIntroducer():
                theirs = [one for one in state.heard.values() if one.origin == command.origin]
                return self._end(state, theirs, "introducer_lost", command.at)
            case s.SettleTrust():
                return self._settle(state, command)
            case s.Issue():
                return _issue(state, command)
            case s.Withdraw():
                return _withdraw(state, command)

    def apply(  # noqa: PLR0911 - one for each event
        self, state: s.IntroductionsState, event: IntroductionEvent
    ) -> s.IntroductionsState:
        """Give the state after `event`."""
        replace = msgspec.structs.replace
        match event:
            case IntroductionHeard():
                intro = s.Introduction(
                    intro_id=event.intro_id,
                    origin=event.origin,
                    subject=event.subject,
                    addresses=event.addresses,
                    expires_ms=event.expires_ms,
                    blake3=event.blake3,
                )
                return replace(state, heard={**state.heard, intro.key: intro})
            case IntroductionEnded():
                key = s.key_of(event.origin, event.intro_id)
                heard = {other: one for other, one in state.heard.items() if other != key}
                if event.reason == "refused":  # nothing came of it: it may be heard again
                    return replace(state, heard=heard)
                return replace(state, heard=heard, ended=_ended(state, key, event.expires_ms, event.at_ms))
            case RevocationNoted():
                note = s.Note(at_ms=event.at_ms, origin=event.origin, subject=event.subject, text=event.text)
                key = s.key_of(event.origin, event.intro_id)
                until = event.at_ms + s.LIFETIME_MS + s.SKEW_MS
                notes = (*state.notes, note)[-s.MAX_NOTES :]
                return replace(state, notes=notes, ended=_ended(state, key, until, event.at_ms))
            case TrustTold():
                return _told(state, event)
            case IntroductionIssued() | IntroductionWithdrawn():
                return _given(state, event)
            case IntroductionForged():
                until = event.at_ms + s.LIFETIME_MS + s.SKEW_MS
                key = s.key_of("forged", event.blake3)
                return replace(state, ended=_ended(state, key, until, event.at_ms))
            case TrustAsked():
                return state

    # --- what peers say ---------------------------------------------------------------------------------

    def _hear(self, state: s.IntroductionsState, command: s.HearIntroduction) -> IntroductionDecision:
        if fingerprint(base64.b64decode(command.pubkey)) != command.subject:
            return _forged(state, command)
        refused = _why_not(state, command)
        if refused is not None:
            return Decision((), refused)
        heard = IntroductionHeard(
            at_ms=command.at,
            intro_id=command.intro_id,
            origin=command.origin,
            subject=command.subject,
            addresses=command.addresses,
            expires_ms=command.expires_ms,
            envelope_id=command.envelope_id,
            blake3=command.blake3,
        )
        asked = TrustAsked(
            at_ms=command.at,
            intro_id=command.intro_id,
            effect_id=_effect_id("introduced", command.blake3),
            act="introduced",
            introducer=command.origin,
            peer=command.subject,
            addresses=command.addresses,
            envelope_id=command.envelope_id,
            blake3=command.blake3,
            idempotent=True,
        )
        return Decision((heard, asked), "asked")

    def _revoke(self, state: s.IntroductionsState, command: s.HearRevocation) -> IntroductionDecision:
        key = s.key_of(command.origin, command.intro_id)
        intro = state.heard.get(key)
        if intro is not None and intro.subject == command.subject:
            return self._end(state, [intro], "revoked", command.at, text=command.text[: s.MAX_TEXT])
        if key in state.ended:
            return Decision((), "duplicate")
        if command.origin_state != "trusted" or intro is not None:
            return Decision((), "not_trusted")
        if len(state.ended) >= s.MAX_ENDED and not any(until <= command.at for until in state.ended.values()):
            return Decision((), "full")
        noted = RevocationNoted(
            at_ms=command.at,
            intro_id=command.intro_id,
            origin=command.origin,
            subject=command.subject,
            text=command.text[: s.MAX_TEXT],
        )
        return Decision((noted,), "noted")

    def _end(
        self,
        state: s.IntroductionsState,
        intros: Iterable[s.Introduction],
        reason: EndReason,
        at: int,
        text: str | None = None,
    ) -> IntroductionDecision:
        """End introductions; who is here by one of them, and by no other of the same introducer, loses it."""
        events: list[IntroductionEvent] = []
        for intro in sorted(intros, key=lambda one: one.key):
            ended = IntroductionEnded(
                at_ms=at,
                intro_id=intro.intro_id,
                origin=intro.origin,
                subject=intro.subject,
                expires_ms=intro.expires_ms,
                reason=reason,
                text=text,
            )
            events.append(ended)
            state = self.apply(state, ended)
            # While trust has not heard of it yet, its answer tells whether there is anything to take back.
            if intro.standing == "effective" and not state.vouched(intro.origin, intro.subject):
                events.append(_lost(intro.origin, intro.subject, intro.intro_id, intro.blake3, at))
        return Decision(tuple(events), "ended" if events else "duplicate")

    # --- what trust answers -----------------------------------------------------------------------------

    def _settle(self, state: s.IntroductionsState, command: s.SettleTrust) -> IntroductionDecision:
        told = TrustTold(
            at_ms=command.at,
            intro_id=command.intro_id,
            effect_id=command.effect_id,
            act=command.act,
            introducer=command.introducer,
            peer=command.peer,
            told=command.told,
            code=command.code,
        )
        events: list[IntroductionEvent] = [told]
        if command.act == "introduced":
            intro = _asked_about(state, command)
            if intro is not None and command.told == "refused":
                events += self._end(state, [intro], "refused", command.at).events
            unvouched = intro is None and not state.vouched(command.introducer, command.peer)
            if command.told == "done" and unvouched:  # it ended while trust was being told
                blake3 = command.effect_id.rpartition(":")[2]
                events.append(_lost(command.introducer, command.peer, command.intro_id, blake3, command.at))
        return Decision(tuple(events), "settled")


def _why_not(state: s.IntroductionsState, command: s.HearIntroduction) -> s.Verdict | None:
    """Why an introduction does not count (MESH-10); None if it does."""
    key = s.key_of(command.origin, command.intro_id)
    theirs = sum(one.origin == command.origin for one in state.heard.values())
    reasons: tuple[tuple[bool, s.Verdict], ...] = (
        (command.origin_state != "trusted", "not_trusted"),
        (command.origin_unverified, "depth"),
        (command.subject in {command.own, command.origin}, "self"),
        (command.expires_ms <= command.at, "expired"),
        (command.expires_ms > command.at + s.LIFETIME_MS + s.SKEW_MS, "too_long"),
        (key in state.heard or state.ended.get(key, 0) > command.at, "duplicate"),
        (theirs >= s.MAX_HEARD_OF_ONE or len(state.heard) >= s.MAX_HEARD, "full"),
    )
    return next((verdict for holds, verdict in reasons if holds), None)


def _forged(state: s.IntroductionsState, command: s.HearIntroduction) -> IntroductionDecision:
    """The origin signed that a key is somebody's whose it is not: its own words are the evidence."""
    if command.origin_state == "blacklisted":
        return Decision((), "not_trusted")
    if s.key_of("forged", command.blake3) in state.ended:
        return Decision((), "duplicate")
    forged = IntroductionForged(
        at_ms=command.at,
        intro_id=command.intro_id,
        origin=command.origin,
        subject=command.subject,
        envelope_id=command.envelope_id,
        blake3=command.blake3,
        envelope=command.envelope,
    )
    asked = TrustAsked(
        at_ms=command.at,
        intro_id=command.intro_id,
        effect_id=_effect_id("forged", command.blake3),
        act="forged",
        introducer=command.origin,
        peer=command.origin,
        envelope_id=command.envelope_id,
        blake3=command.blake3,
        idempotent=True,
    )
    return Decision((forged, asked), "forged")


def _lost(origin: str, subject: str, intro_id: str, blake3: str, at: int) -> TrustAsked:
    return TrustAsked(
        at_ms=at,
        intro_id=intro_id,
        effect_id=_effect_id("introducer_lost", blake3),
        act="introducer_lost",
        introducer=origin,
        peer=subject,
        idempotent=True,
    )


def _effect_id(act: Act, blake3: str) -> str:
    """By the envelope's digest: an id that its origin uses again is another introduction."""
    return f"introductions:{act}:{blake3}"


def _issue(state: s.IntroductionsState, command: s.Issue) -> IntroductionDecision:
    standing = [one for one in state.issued.values() if one.expires_ms > command.at]
    if len(standing) >= s.MAX_ISSUED:
        return Decision((), "too_many")
    issued = IntroductionIssued(
        at_ms=command.at,
        intro_id=command.intro_id,
        subject=command.subject,
        pubkey=command.pubkey,
        addresses=command.addresses,
        expires_ms=command.expires_ms,
    )
    return Decision((issued,), "issued")


def _withdraw(state: s.IntroductionsState, command: s.Withdraw) -> IntroductionDecision:
    given = state.issued.get(command.intro_id)
    if given is None or given.withdrawn is not None:
        return Decision((), "unknown_introduction")
    event = IntroductionWithdrawn(
        at_ms=command.at, intro_id=command.intro_id, reason=command.reason[: s.MAX_TEXT]
    )
    return Decision((event,), "ended")


def _ended(state: s.IntroductionsState, key: str, until: int, at: int) -> dict[str, int]:
    """Remember one more that ended; those that would have expired by now need no memory."""
    ended = {other: end for other, end in state.ended.items() if end > at}
    while len(ended) >= s.MAX_ENDED:
        del ended[min(ended, key=lambda other: (ended[other], other))]
    return {**ended, key: until}


def _told(state: s.IntroductionsState, event: TrustTold) -> s.IntroductionsState:
    intro = _asked_about(state, event)
    if event.act != "introduced" or intro is None:
        return state
    standing = msgspec.structs.replace(intro, standing="effective" if event.told == "done" else "known")
    return msgspec.structs.replace(state, heard={**state.heard, intro.key: standing})


def _asked_about(state: s.IntroductionsState, answer: s.SettleTrust | TrustTold) -> s.Introduction | None:
    """The introduction of which trust was told, if it still stands: its id may be another's by now."""
    intro = state.heard.get(s.key_of(answer.introducer, answer.intro_id))
    same = intro is not None and _effect_id("introduced", intro.blake3) == answer.effect_id
    return intro if same else None


def _given(
    state: s.IntroductionsState, event: IntroductionIssued | IntroductionWithdrawn
) -> s.IntroductionsState:
    issued = {one: given for one, given in state.issued.items() if given.expires_ms > event.at_ms}
    if isinstance(event, IntroductionIssued):
        issued[event.intro_id] = s.Issued(
            intro_id=event.intro_id,
            subject=event.subject,
            pubkey=event.pubkey,
            addresses=event.addresses,
            expires_ms=event.expires_ms,
        )
    elif event.intro_id in issued:
        issued[event.intro_id] = msgspec.structs.replace(issued[event.intro_id], withdrawn=event.reason)
    return msgspec.structs.replace(state, issued=issued)
