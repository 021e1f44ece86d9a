"""`web4 mesh demo`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.demo import MOST_SECONDS
from web4.cli.errors import CommandError
from web4.demo.mesh_story import MeshStory
from web4.demo.program import run_demo
from web4.demo.ring.checks import MESH_CHECKS
from web4.demo.ring.options import MeshOptions


def demo(
    *,
    nodes: Annotated[int, Parameter(help="How many nodes, 4 to 10.")] = 4,
    kill: Annotated[
        str | None, Parameter(help="Whom to kill in `reroute`; the hop in use if left out.")
    ] = None,
    transport: Annotated[Literal["tcp", "unix"], Parameter(help="What the bytes travel on.")] = "tcp",
    json: Annotated[
        bool, Parameter(negative=(), help="One JSON object per line: events, the summary last.")
    ] = False,
    seed: Annotated[int | None, Parameter(help="Repeatable identities and ids (never TLS keys).")] = None,
    timeout: Annotated[float, Parameter(help="Give up after so many seconds.")] = 60.0,
    keep: Annotated[
        Path | None, Parameter(help="Use this directory and leave it there: graphs and journals are in it.")
    ] = None,
    list: Annotated[  # noqa: A002 - the flag's name (DEMO-3)
        bool, Parameter(name="--list", negative=(), help="List the checks and what they claim.")
    ] = False,
    sabotage: Annotated[
        str | None, Parameter(help="Break the step of this check: it fails then, or it proves nothing.")
    ] = None,
) -> int:
    """Run a ring of nodes, each in a process of its own, cut it, kill some of them, and see that the mesh heals.

    It needs no key, no network, no configuration and no `init`. Exit codes: 0 all checks passed, 1 a check failed,
    2 usage, 3 environment, 4 timeout, 130 interrupted.

    ```
    web4 mesh demo
    web4 mesh demo --nodes 6 --kill ben
    ```
    """
    if list:
        width = max(map(len, MESH_CHECKS))
        sys.stdout.writelines(f"{name:<{width}}  {claim}\n" for name, claim in MESH_CHECKS.items())
        return 0
    if sabotage is not None and sabotage not in MESH_CHECKS:
        raise CommandError(f"there is no check {sabotage!r}: `web4 mesh demo --list` has them")
    if not 0 < timeout <= MOST_SECONDS:
        raise CommandError(f"--timeout is more than 0 and up to {MOST_SECONDS:,} seconds")
    try:
        options = MeshOptions(
            nodes=nodes,
            kill=kill,
            transport=transport,
            json=json,
            seed=seed,
            timeout=timeout,
            keep=keep,
            sabotage=sabotage,
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    return run_demo(MESH_CHECKS, MeshStory, options)
