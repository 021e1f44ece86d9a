"""The extension that the benchmark calls: copied into a directory of its own, imported by sandboxed workers."""

from __future__ import annotations

import os
import time

from web4.ext import Extension

ext = Extension("bench.workers")


@ext.tool
def echo(data: str) -> str:
    """Do nothing with 1 KiB."""
    return data


@ext.tool
def who(seconds: float) -> int:
    """The process that this runs in, after a while."""
    time.sleep(seconds)
    return os.getpid()


@ext.tool
def sleeping() -> None:
    """Never come back."""
    time.sleep(3_600)


@ext.tool
def spinning() -> None:
    """Never come back, and keep a core busy."""
    while True:
        pass


@ext.tool
def forking() -> None:
    """Never come back, and leave as many processes as may be, each in a session of its own."""
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
                time.sleep(3_600)
        except OSError:
            time.sleep(0.001)
