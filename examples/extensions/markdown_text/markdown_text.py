"""Markdown to text, as an extension: one tool, which a model, a command line or a program calls."""

from __future__ import annotations

from typing import Annotated

import msgspec
from plain_text import PlainText

from web4.ext import Context, Extension

ext = Extension("markdown_text")

Markdown = Annotated[str, msgspec.Meta(max_length=200_000, description="A document in CommonMark.")]
Width = Annotated[int, msgspec.Meta(ge=20, le=400, description="Columns that paragraphs are folded to.")]


class Rendered(msgspec.Struct):
    """A document as text."""

    text: str
    headings: list[str]
    links: list[str]


@ext.tool(timeout_ms=5_000, idempotent=True)
async def to_text(ctx: Context, markdown: Markdown, width: Width = 80) -> Rendered:
    """Turn Markdown into plain text: paragraphs folded, lists and tables in line, links listed at the end."""
    await ctx.progress(f"rendering {len(markdown)} characters")
    page = PlainText(width)
    return Rendered(text=page.render(markdown), headings=page.headings, links=page.links)
