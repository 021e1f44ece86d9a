"""Lane `server` whole: every part that any room writes there (WEB-1). Whoever opens or replays it takes this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from web4.actors.composite import composite_lane
from web4.extensions.enabling.server_lane import EXTENSIONS
from web4.mesh.introductions.part import INTRODUCTIONS
from web4.mesh.registry.peers_logic import PEERS
from web4.mesh.services.part import SERVICES

if TYPE_CHECKING:
    from web4.actors.composite import CompositeLane, Part
    from web4.mesh.introductions.introduction_state import IntroductionsState
    from web4.mesh.services.service_state import ServicesState


def server_lane(
    *,
    introductions: Part[IntroductionsState] = INTRODUCTIONS,
    services: Part[ServicesState] = SERVICES,
) -> CompositeLane:
    """Lane `server` of a node that performs what these parts ask for. Pass it to `open_lane_actors` as `server`.

    A part that is left out is read and replayed; of its effects those that may be performed again stay open.
    """
    return composite_lane(EXTENSIONS, PEERS, introductions, services, sole=EXTENSIONS.name)


SERVER_LANE: Final = server_lane()
"""The lane as it is read and replayed: nothing is performed."""
