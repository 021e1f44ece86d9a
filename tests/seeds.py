"""Where tests that draw at random have their seed from. Whoever draws prints it."""

from __future__ import annotations

import os
import random
from typing import Final

SEED_BITS: Final = 32


def a_seed(name: str = "WEB4_SEED") -> int:
    """What the environment says; where a change is judged, every time the same; else another each time.

    What an unlucky draw finds is to be found again, and by whoever looks for it: not by whoever changed something else.
    """
    given = os.environ.get(name)
    if given:
        return int(given)
    return 0 if "CI" in os.environ else random.SystemRandom().getrandbits(SEED_BITS)
