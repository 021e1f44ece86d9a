"""What `web4 demo` and `web4 mesh demo` are asked in the same words (DEMO-3)."""

import sys
from collections.abc import Mapping
from typing import Annotated, Literal

from cyclopts import Parameter

from web4.cli.errors import CommandError

MOST_SECONDS = 3_600

Transport = Annotated[Literal["tcp", "unix"], Parameter(help="What the bytes travel on.")]
JsonLines = Annotated[
    bool, Parameter(negative=(), help="One JSON object per line: events, answers, the summary last.")
]
Seed = Annotated[int | None, Parameter(help="Repeatable identities and ids (never TLS keys).")]
Timeout = Annotated[float, Parameter(help="Give up after so many seconds.")]
ListChecks = Annotated[
    bool, Parameter(name="--list", negative=(), help="List the checks and what they claim.")
]
Sabotage = Annotated[
    str | None, Parameter(help="Break the step of this check: it fails then, or it proves nothing.")
]


def show_checks(checks: Mapping[str, str]) -> None:
    """Print the name of each check beside what it claims."""
    width = max(map(len, checks))
    sys.stdout.writelines(f"{name:<{width}}  {claim}\n" for name, claim in checks.items())


def require_sound(checks: Mapping[str, str], command: str, *, sabotage: str | None, timeout: float) -> None:
    """Raise `CommandError` when there is no such check to break, or no such time to wait."""
    if sabotage is not None and sabotage not in checks:
        raise CommandError(f"there is no check {sabotage!r}: `{command} --list` has them")
    if not 0 < timeout <= MOST_SECONDS:
        raise CommandError(f"--timeout is more than 0 and up to {MOST_SECONDS:,} seconds")
