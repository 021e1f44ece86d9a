"""A ring of nodes, each in a process of its own: those who are no neighbours talk, vote, call and heal over the others.

    python scripts/web4_mesh_demo.py [--nodes N] [--kill NAME] [--transport tcp|unix] [--json] [--seed N] [--timeout S]
                                     [--keep DIR] [--list] [--sabotage CHECK]

Exit codes: 0 all checks passed, 1 a check failed, 2 usage, 3 environment, 4 timeout, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        # There is nothing to end in order yet, and no traceback out of half an import.
        signal.signal(number, lambda *_: os._exit(130))

try:
    from web4.demo.mesh_story import MeshStory
    from web4.demo.program import run_script
    from web4.demo.ring.checks import MESH_CHECKS
    from web4.demo.ring.options import MeshOptions, add_arguments
except ImportError as error:  # pragma: no cover - needs an environment without web4
    print(f"the demo needs an environment with web4 in it: run `make mesh-demo` ({error})", file=sys.stderr)
    sys.exit(3)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code says how it went (DEMO-4)."""
    return run_script(
        arguments,
        about=__doc__,
        claims=MESH_CHECKS,
        make=MeshStory,
        add=add_arguments,
        options_of=MeshOptions,
    )


if __name__ == "__main__":
    sys.exit(main())
