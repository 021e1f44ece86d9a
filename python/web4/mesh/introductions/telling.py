"""Telling the TrustFSM of introductions: the effects of their part of lane `server` (MESH-9, ROUTE-3, TRUST-9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from web4.actors.errors import ActorError
from web4.journal.errors import JournalError
from web4.mesh.introductions.part import settled
from web4.mesh.registry.errors import RegistryError
from web4.trust import (
    Introduced,
    IntroducerLost,
    MaliciousEvidence,
    TrustCommandError,
    TrustViolationError,
    cited_envelope,
)

if TYPE_CHECKING:
    from web4.foundation.clock import Clock
    from web4.mesh.introductions.introduction_events import TrustAsked
    from web4.mesh.introductions.introduction_state import SettleTrust
    from web4.mesh.registry.registry import PeerRegistry
    from web4.protocols.ports import CommandTrust, TrustView
    from web4.trust import TrustCommand

_PAUSE_SECONDS: Final = 1.0


class TrustTeller:
    """Performs what introductions ask of trust.

    Args:
        trust: How far peers are trusted.
        command: Tells a peer's TrustFSM something, once for each cause.
        registry: Gets where introduced peers may be found.
        clock: Where time comes from.
    """

    def __init__(
        self, *, trust: TrustView, command: CommandTrust, registry: PeerRegistry, clock: Clock
    ) -> None:
        self._trust = trust
        self._command = command
        self._registry = registry
        self._clock = clock

    async def tell(self, request: TrustAsked) -> SettleTrust:
        """Tell the TrustFSM, and note where the subject may be found; what it came to.

        While a journal does not take it, it is tried again: cut off by the end of the node it stays open, and the
        next start performs it. What counts is in the peer's record, so a second time tells the same.
        """
        while True:
            try:
                return await self._tell(request)
            except (JournalError, ActorError):
                await trio.sleep(_PAUSE_SECONDS)

    async def _tell(self, request: TrustAsked) -> SettleTrust:
        code: str | None = None
        try:
            await self._command(request.peer, self._saying(request), cause=request.effect_id)
        except (TrustCommandError, TrustViolationError) as error:
            code = error.code
        if request.act != "introduced":
            told = "refused" if code else "done"
            return settled(request, told=told, at=self._clock.wall_ms(), code=code)
        # Asked again after a crash, the FSM has nothing more to say: the record tells by whom the peer is here.
        if self._trust.record(request.peer).introducer == request.introducer:
            await self._note(request)
            return settled(request, told="done", at=self._clock.wall_ms())
        if code is None and self._trust.state(request.peer) in {"probing", "trusted"}:
            await self._note(request)
        told = "refused" if code else "nothing"
        return settled(request, told=told, at=self._clock.wall_ms(), code=code)

    def _saying(self, request: TrustAsked) -> TrustCommand:
        at_ms = self._clock.wall_ms()
        digest = request.blake3
        cited = () if digest is None else (cited_envelope(digest, request.envelope_id, None),)
        match request.act:
            case "introduced":
                state = self._trust.state(request.introducer)
                return Introduced(
                    at_ms=at_ms, introducer=request.introducer, introducer_state=state, evidence=cited
                )
            case "introducer_lost":
                return IntroducerLost(at_ms=at_ms, introducer=request.introducer)
            case "forged":
                return MaliciousEvidence(at_ms=at_ms, reason="forged introduction", evidence=cited)

    async def _note(self, request: TrustAsked) -> None:
        """Know where the subject may be found; that there is no room for it is no reason not to let it be probing."""
        try:
            await self._registry.add(
                request.peer,
                source="introduced",
                addresses=request.addresses or None,
                told_by=request.introducer,
            )
        except RegistryError:
            return
