"""For all tests."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import settings

# Workers import what their node was told to, and not from where it was started. Some run modules of these tests.
_NAMED = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), _NAMED)))

# How long an example takes says something about the machine, and nothing about the code. What fails says how to repeat
# it; where a change is judged, as by Hypothesis' own profile for it, every run has the same examples.
settings.register_profile("web4", deadline=None, print_blob=True, derandomize="CI" in os.environ)
settings.load_profile("web4")
