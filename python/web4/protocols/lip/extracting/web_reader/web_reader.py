"""Reads what was fetched, in a worker that a timeout can kill: pages, PDF files, robots.txt (FETCH-7, FETCH-9)."""

from __future__ import annotations

from typing import Any

import msgspec

from web4.ext import Extension

ext = Extension("web_reader")


class Page(msgspec.Struct):
    """A body as text."""

    text: str
    title: str
    personal_data: list[str]


class Verdict(msgspec.Struct):
    """What a robots.txt says about one URI."""

    allowed: bool
    crawl_delay: float


@ext.tool(timeout_ms=10_000, idempotent=True)
def read_page(body: Any, kind: str, charset: str, find_personal_data: bool, limit: int) -> Page:
    """Turn a body into text.

    Args:
        body: Its bytes.
        kind: `html`, `pdf` or `text`.
        charset: As the answer named it; empty when it did not.
        find_personal_data: Whether to look for personal data, too.
        limit: Bytes that the text may have.
    """
    # Imported here: a worker that reads a robots.txt needs no parser of pages.
    from page_text import read  # noqa: PLC0415
    from personal_data import found_in  # noqa: PLC0415

    title, text, hidden, source = read(bytes(body), kind, charset, limit)
    return Page(
        text=text,
        title=title[:300],
        personal_data=found_in(text, hidden, source) if find_personal_data else [],
    )


@ext.tool(timeout_ms=2_000, idempotent=True)
def read_robots(body: Any, uri: str, agent: str) -> Verdict:
    """Ask a robots.txt about a URI.

    Args:
        body: Its bytes.
        uri: Absolute.
        agent: The product token of whoever asks.
    """
    from robots_rules import verdict_of  # noqa: PLC0415

    allowed, delay = verdict_of(bytes(body), uri, agent)
    return Verdict(allowed=allowed, crawl_delay=delay)
