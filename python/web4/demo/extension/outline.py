"""The extension of the demo: a tool that works, and one that hangs on purpose and does what it can to live on."""

import os
import signal
import time
from typing import TypedDict

from web4.ext import Context, Extension

ext = Extension("outline")


class Outline(TypedDict):
    """What a document is about."""

    title: str
    headings: list[str]
    words: int


@ext.tool(idempotent=True)
def outline(ctx: Context, markdown: str) -> Outline:
    """Give the headings of a Markdown document, and how many words it has."""
    lines = [line.strip() for line in markdown.splitlines()]
    headings = [line.lstrip("#").strip() for line in lines if line.startswith("#")]
    ctx.progress(f"{len(lines)} lines")
    return {"title": headings[0] if headings else "", "headings": headings, "words": len(markdown.split())}


@ext.tool(timeout_ms=1_000)
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
