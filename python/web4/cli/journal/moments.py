"""Times as a command line names them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from web4.cli.errors import CommandError
from web4.foundation.clock import SystemClock

_AGO: Final = re.compile(r"(\d{1,9})(s|m|h|d|w)")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
HELP: Final = (
    "RFC 3339 (`2026-11-21T15:00:00Z`, UTC if no zone is named), Unix milliseconds, or how long ago: `90s`, "
    "`15m`, `2h`, `7d`."
)


def parse_moment(text: str | None, option: str) -> int | None:
    """Unix milliseconds of what `option` says.

    Raises:
        CommandError: `usage`.
    """
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        return SystemClock().wall_ms() - int(ago[1]) * _UNITS[ago[2]] * 1000
    if re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        return int(text)
    try:
        named = datetime.fromisoformat(text)
        return round((named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise CommandError(f"{option} {text!r} is no time: {HELP}", code="usage") from None
