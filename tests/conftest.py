"""For all tests."""

from __future__ import annotations

import os
from pathlib import Path

# Workers import what their node was told to, and not from where it was started. Some run modules of these tests.
_NAMED = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), _NAMED)))
