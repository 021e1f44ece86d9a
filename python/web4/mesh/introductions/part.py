"""The introductions' part of lane `server`: its definition, and who tells the TrustFSM (MESH-9 to MESH-11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from web4.actors.composite import Part
from web4.actors.definition import LaneDefinition, Origin
from web4.mesh.introductions.introduction_events import (
    INTRODUCTION_EVENTS,
    IntroductionEvent,
    TrustAsked,
)
from web4.mesh.introductions.introduction_logic import IntroductionsLogic
from web4.mesh.introductions.introduction_state import (
    EndExpired,
    EndIntroducer,
    HearIntroduction,
    HearRevocation,
    IntroductionCommand,
    IntroductionsState,
    Issue,
    SettleTrust,
    Verdict,
    Withdraw,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from web4.actors.definition import Effect, Outcome

LOGIC_VERSION: Final = 2
_COMMANDS: Final = (
    HearIntroduction,
    HearRevocation,
    EndExpired,
    EndIntroducer,
    SettleTrust,
    Issue,
    Withdraw,
)


@dataclass(frozen=True, kw_only=True)
class IntroductionsDefinition(
    LaneDefinition[IntroductionsState, IntroductionCommand, IntroductionEvent, Verdict]
):
    """What the introductions' part consists of.

    Args:
        tell: Lets the TrustFSM hear of something. None where lanes are only read, or other parts written: what is
            open stays open then, for the node's next start.
    """

    tell: Callable[[TrustAsked], Awaitable[SettleTrust]] | None = None

    def origin(self, command: IntroductionCommand) -> Origin:
        """See `LaneDefinition.origin`."""
        return Origin(command.at)

    async def perform(self, request: IntroductionEvent) -> IntroductionCommand:
        """Tell the TrustFSM; idempotent, as the peer's lane knows the cause (ROUTE-3)."""
        assert isinstance(request, TrustAsked)
        if self.tell is None:
            await trio.sleep_forever()
        return await self.tell(request)

    def conclude(self, effect: Effect, outcome: Outcome, reason: str, at: int) -> IntroductionCommand:
        """The conclusion of one that brought none: trust did not hear of it, and it may be heard again."""
        request: Any = effect.request
        if request is None:  # its payload was erased
            return SettleTrust(at=at, effect_id=effect.id, told="refused", code=reason)
        return settled(request, told="refused", at=at, code=reason)


def settled(request: TrustAsked, *, told: Any, at: int, code: str | None = None) -> SettleTrust:
    """The command that concludes `request`."""
    return SettleTrust(
        at=at,
        effect_id=request.effect_id,
        told=told,
        act=request.act,
        introducer=request.introducer,
        peer=request.peer,
        intro_id=request.intro_id,
        code=code,
    )


def introductions_part(
    tell: Callable[[TrustAsked], Awaitable[SettleTrust]] | None = None,
) -> Part[IntroductionsState]:
    """The part, as a node performs it, or without `tell` as it is read and replayed."""
    definition = IntroductionsDefinition(
        logic=IntroductionsLogic(),
        state=IntroductionsState,
        events=INTRODUCTION_EVENTS,
        version=LOGIC_VERSION,
        tell=tell,
    )
    return Part("introductions", definition, _COMMANDS)


INTRODUCTIONS: Final = introductions_part()
"""As it is read and replayed."""
