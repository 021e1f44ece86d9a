"""Lane `server` whole: every part that any room writes there (WEB-1). Whoever opens or replays it takes this."""

from __future__ import annotations

from typing import Final

from web4.actors.composite import composite_lane
from web4.extensions.enabling.server_lane import EXTENSIONS
from web4.mesh.registry.peers_logic import PEERS

SERVER_LANE: Final = composite_lane(EXTENSIONS, PEERS, sole=EXTENSIONS.name)
"""The lane as it is read and replayed: nothing is performed. Pass it to `open_lane_actors` as kind `server`."""
