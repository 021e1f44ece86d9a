"""`web4 mesh demo`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from web4.cli.demonstrating import (
    JsonLines,
    ListChecks,
    Sabotage,
    Seed,
    Timeout,
    Transport,
    require_sound,
    show_checks,
)
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
    transport: Transport = "tcp",
    json: JsonLines = False,
    seed: Seed = None,
    timeout: Timeout = 60.0,
    keep: Annotated[
        Path | None, Parameter(help="Use this directory and leave it there: graphs and journals are in it.")
    ] = None,
    list: ListChecks = False,  # noqa: A002 - the flag's name (DEMO-3)
    sabotage: Sabotage = None,
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
        show_checks(MESH_CHECKS)
        return 0
    require_sound(MESH_CHECKS, "web4 mesh demo", sabotage=sabotage, timeout=timeout)
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
