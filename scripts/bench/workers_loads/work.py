"""What peers' workers are asked to do. Imports nothing heavy: each of their processes imports it."""

from __future__ import annotations

import os
import time


def echo(data: bytes) -> bytes:
    """Do nothing with 1 KiB."""
    return data


def hang() -> None:
    """Never come back."""
    time.sleep(3_600)


def who(seconds: float) -> int:
    """The process that this runs in, after a while: so that others are asked meanwhile."""
    time.sleep(seconds)
    return os.getpid()
