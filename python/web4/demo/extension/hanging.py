"""What the demo adds to the example: a tool that hangs on purpose, and does what it can to live on."""

# mypy: ignore-errors
# The module of the example is beside it once the demo has put the two together.

import os
import signal
import time

from markdown_text import ext

from web4.ext import Context

__all__ = ["ext"]


@ext.tool(timeout_ms=300)
def hang(ctx: Context, children: int = 3) -> str:
    """Start processes that leave for sessions of their own, ignore every polite request, and never come back."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(children):
        if os.fork() == 0:
            os.setsid()
            if os.fork() > 0:
                os._exit(0)  # what is left has no parent among us
            while True:
                time.sleep(60)
    ctx.progress("hanging")
    while children:
        pass
    return "thought better of it"
