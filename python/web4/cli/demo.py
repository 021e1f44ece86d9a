"""`web4 demo`."""

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
from web4.demo.checks import CHECKS
from web4.demo.program import DemoOptions, run_demo
from web4.demo.story import Story


def demo(
    *,
    transport: Transport = "tcp",
    json: JsonLines = False,
    seed: Seed = None,
    timeout: Timeout = 60.0,
    keep: Annotated[
        Path | None, Parameter(help="Use this directory and leave it there: the next run remembers.")
    ] = None,
    list: ListChecks = False,  # noqa: A002 - the flag's name (DEMO-3)
    sabotage: Sabotage = None,
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
        show_checks(CHECKS)
        return 0
    require_sound(CHECKS, "web4 demo", sabotage=sabotage, timeout=timeout)
    options = DemoOptions(
        transport=transport, json=json, seed=seed, timeout=timeout, keep=keep, sabotage=sabotage
    )
    return run_demo(CHECKS, Story, options)
