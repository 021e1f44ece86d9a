"""The example `markdown_text`: what it makes of Markdown, and that it holds as an extension (EXT-9, EXT-43)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import trio

from web4.ext.testing import Harness
from web4.extensions.errors import CallError

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / "examples" / "extensions" / "markdown_text"


@pytest.fixture(scope="module")
def plain_text() -> Any:
    """The part of it that knows nothing of Web4."""
    spec = importlib.util.spec_from_file_location("markdown_text_plain", DIRECTORY / "plain_text.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = {
    "title": ("# Two\nwords", "Two\n===\n\nwords"),
    "folded": ("one two three four five six", "one two three four\nfive six"),
    "emphasis": ("*a* **b** `c` ~~d~~", "a b c ~~d~~"),
    "break": ("a  \nb\nc", "a\nb c"),
    "list": ("- a\n- b\n  - c", "- a\n- b\n  - c"),
    "loose list": ("3. a\n\n4. b", "3. a\n\n4. b"),
    "quote": ("> a\n>\n> b", "> a\n>\n> b"),
    "code": ("```py\nx = 1\n\ny\n```", "    x = 1\n\n    y"),
    "table": ("| a | bb |\n|---|---|\n| ccc | d |", "a    bb\n---  --\nccc  d"),
    "link": ("[x](http://y) and [z](http://y)", "x [1] and z [1]\n\n[1] http://y"),
    "bare link": ("<http://y>", "http://y"),
    "image": ("![what](y.png)", "[what]"),
    "html": ("a <b>c</b>\n\n<script>x</script>", "a c"),
    "nothing": ("", ""),
    "empty item": ("-\n- a", "-\n- a"),
    "long word": ("x" * 30, "x" * 30),
}


@pytest.mark.parametrize("name", CASES)
def test_rendering(name: str, plain_text: Any) -> None:
    markdown, text = CASES[name]
    assert plain_text.PlainText(20).render(markdown) == text


def test_rendering_of_what_is_meant_to_hurt(plain_text: Any) -> None:
    """Nesting and brackets without end: neither a recursion error nor more than a moment."""
    for piece in (">", "- ", "* a\n ", "[", "![", "**a ", "`", "<a ", "|", "1. ", "\\", "&#0;"):
        page = plain_text.PlainText(20)
        assert isinstance(page.render(piece * 1500), str)


def test_rendering_says_what_it_found(plain_text: Any) -> None:
    page = plain_text.PlainText(40)
    page.render("# A *b*\n\n## C\n\n[x](u) [y](v)")
    assert (page.headings, page.links) == (["A b", "C"], ["u", "v"])


async def test_in_a_worker() -> None:
    """Called as a node calls it: the value, its progress, what it refuses; and it never reaches the network."""
    with trio.fail_after(60):
        async with Harness(DIRECTORY) as harness:
            value = await harness.value("to_text", {"markdown": "# A\n\n[x](http://y)", "width": 20})
            assert value == {
                "text": "A\n=\n\nx [1]\n\n[1] http://y",
                "headings": ["A"],
                "links": ["http://y"],
            }
            assert [one.message for one in harness.progress] == ["rendering 18 characters"]
            with pytest.raises(CallError):
                await harness.value("to_text", {"markdown": "x", "width": 19})
            page = (ROOT / "docs" / "reference" / "rtt-wire.md").read_text()
            assert "# " not in (await harness.value("to_text", {"markdown": page}))["text"][:2]
            outcome = harness.outcomes[0]
            assert (outcome.sandbox, outcome.isolated) == ("standard", True)
