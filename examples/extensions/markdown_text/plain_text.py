"""From Markdown's tree of blocks to lines of text. Knows nothing of Web4."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NARROWEST = 8
"""However deep a list is nested, its text gets this many columns."""


class PlainText:
    """Renders one document.

    Args:
        width: Columns that paragraphs are folded to. Code and tables keep their own.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.headings: list[str] = []
        self._links: dict[str, int] = {}

    @property
    def links(self) -> list[str]:
        """Where links lead, in the order of their numbers in the text."""
        return list(self._links)

    def render(self, markdown: str) -> str:
        """The document as text; where its links lead stands at its end."""
        # The preset bounds how deep blocks nest, and with that this recursion.
        tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(markdown))
        lines = self._blocks(tree.children, self._width)
        if self._links:
            lines += ["", *(f"[{number}] {target}" for target, number in self._links.items())]
        return "\n".join(lines)

    # --- blocks -------------------------------------------------------------------------------------------

    def _blocks(self, nodes: Iterable[SyntaxTreeNode], width: int, *, tight: bool = False) -> list[str]:
        lines: list[str] = []
        for node in nodes:
            block = self._block(node, width)
            if lines and block and not tight:
                lines.append("")
            lines += block
        return lines

    def _block(self, node: SyntaxTreeNode, width: int) -> list[str]:
        match node.type:
            case "heading":
                return self._heading(node, width)
            case "paragraph":
                return _fold(self._inline(node), width)
            case "blockquote":
                return _prefixed(self._blocks(node.children, max(width - 2, NARROWEST)), "> ", "> ")
            case "bullet_list" | "ordered_list":
                return self._list(node, width)
            case "fence" | "code_block":
                return _prefixed(node.content.rstrip("\n").split("\n"), "    ", "    ")
            case "table":
                return self._table(node)
            case "hr":
                return ["-" * width]
            case _:  # raw HTML is no text
                return []

    def _heading(self, node: SyntaxTreeNode, width: int) -> list[str]:
        text = " ".join(self._inline(node).split())
        self.headings.append(text)
        lines = _fold(text, width)
        rule = {"h1": "=", "h2": "-"}.get(node.tag)
        return [*lines, rule * max(map(len, lines))] if rule and lines else lines

    def _list(self, node: SyntaxTreeNode, width: int) -> list[str]:
        number = int(node.attrs.get("start", 1))
        tight = all(
            child.hidden for item in node.children for child in item.children if child.type == "paragraph"
        )
        lines: list[str] = []
        for place, item in enumerate(node.children):
            mark = "- " if node.type == "bullet_list" else f"{number + place}. "
            inside = self._blocks(item.children, max(width - len(mark), NARROWEST), tight=tight)
            if lines and not tight:
                lines.append("")
            lines += _prefixed(inside or [""], mark, " " * len(mark))
        return lines

    def _table(self, node: SyntaxTreeNode) -> list[str]:
        rows = [
            [" ".join(self._inline(cell).split()) for cell in row.children]
            for part in node.children
            for row in part.children
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [_row(row, widths) for row in rows]
        return [lines[0], "  ".join("-" * one for one in widths), *lines[1:]]

    # --- within a block -----------------------------------------------------------------------------------

    def _inline(self, node: SyntaxTreeNode) -> str:
        """The words of a block; a forced break is a newline."""
        return "".join(map(self._words, node.children))

    def _words(self, node: SyntaxTreeNode) -> str:
        match node.type:
            case "text" | "code_inline":
                return node.content
            case "softbreak":
                return " "
            case "hardbreak":
                return "\n"
            case "image":
                return f"[{node.content or 'image'}]"
            case "link":
                return self._link(node)
            case "html_inline":
                return ""
            case _:  # emphasis and its like: what is in it
                return self._inline(node)

    def _link(self, node: SyntaxTreeNode) -> str:
        text, target = self._inline(node), str(node.attrs.get("href", ""))
        if text == target:
            return text
        return f"{text} [{self._links.setdefault(target, len(self._links) + 1)}]"


def _fold(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for piece in text.split("\n"):
        lines += textwrap.wrap(piece, width, break_long_words=False, break_on_hyphens=False)
    return lines


def _prefixed(lines: Sequence[str], first: str, others: str) -> list[str]:
    return [((others if place else first) + line).rstrip() for place, line in enumerate(lines)]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
