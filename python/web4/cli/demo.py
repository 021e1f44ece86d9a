"""`web4 demo`."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.errors import CommandError
from web4.demo.checks import CHECKS
from web4.demo.program import DemoOptions, run_demo
from web4.demo.story import Story

MOST_SECONDS = 3_600


def demo(
    *,
    transport: Annotated[Literal["tcp", "unix"], Parameter(help="What the bytes travel on.")] = "tcp",
    json: Annotated[
        bool, Parameter(negative=(), help="One JSON object per line: events, answers, the summary last.")
    ] = False,
    seed: Annotated[int | None, Parameter(help="Repeatable identities and ids (never TLS keys).")] = None,
    timeout: Annotated[float, Parameter(help="Give up after so many seconds.")] = 60.0,
    keep: Annotated[
        Path | None, Parameter(help="Use this directory and leave it there: the next run remembers.")
    ] = None,
    list: Annotated[  # noqa: A002 - the flag's name (DEMO-3)
        bool, Parameter(name="--list", negative=(), help="List the checks and what they claim.")
    ] = False,
    sabotage: Annotated[
        str | None, Parameter(help="Break the step of this check: it fails then, or it proves nothing.")
    ] = None,
) -> int:
    """Let two agents meet in processes of their own, trust each other, and outlast a third one, and see it checked.

    It needs no key, no network, no configuration and no `init`. Exit codes: 0 all checks passed, 1 a check failed,
    2 usage, 3 environment, 4 timeout, 130 interrupted.

    ```
    web4 demo
    web4 demo --keep ./kept
    web4 demo --sabotage tamper_refused
    ```
    """
    if list:
        width = max(map(len, CHECKS))
        sys.stdout.writelines(f"{name:<{width}}  {claim}\n" for name, claim in CHECKS.items())
        return 0
    if sabotage is not None and sabotage not in CHECKS:
        raise CommandError(f"there is no check {sabotage!r}: `web4 demo --list` has them")
    if not 0 < timeout <= MOST_SECONDS:
        raise CommandError(f"--timeout is more than 0 and up to {MOST_SECONDS:,} seconds")
    options = DemoOptions(
        transport=transport, json=json, seed=seed, timeout=timeout, keep=keep, sabotage=sabotage
    )
    return run_demo(CHECKS, Story, options)
