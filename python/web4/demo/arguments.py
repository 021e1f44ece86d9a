"""The arguments of the demo scripts (DEMO-3)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_LONGEST: Final = 3_600


def parser_of(about: str | None, checks: Collection[str]) -> argparse.ArgumentParser:
    """The parser of a demo with these checks."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--transport", choices=["tcp", "unix"], default="tcp", help="what the bytes travel on"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line, the summary last")
    parser.add_argument("--seed", type=int, help="repeatable identities and ids (never TLS keys)")
    parser.add_argument(
        "--timeout", type=_seconds, default=60, metavar="S", help="give up after S seconds (60)"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR", help="use DIR, and leave it there")
    parser.add_argument("--list", action="store_true", help="list the checks and what they claim")
    parser.add_argument(
        "--sabotage", choices=list(checks), metavar="CHECK", help="break that step: its check fails"
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= _LONGEST:
        raise ValueError
    return seconds
