"""The guides that follow one thing through the code name what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDES = [
    pytest.param("follow-a-frame.md", 50, 5, id="frame"),
    pytest.param("follow-a-command.md", 25, 4, id="command"),
]


def methods_of_python(source: str) -> set[str]:
    return {
        f"{entry.name}.{method.name}"
        for entry in ast.parse(source).body
        if isinstance(entry, ast.ClassDef)
        for method in entry.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def methods_of_rust(source: str) -> set[str]:
    # `cargo fmt` ends a block at the margin, and nothing else.
    blocks = re.findall(r"^impl (\w+)(?:<[^>]*>)? \{\n(.*?)^\}", source, flags=re.DOTALL | re.MULTILINE)
    return {
        f"{owner}::{method}"
        for owner, body in blocks
        for method in re.findall(r"^    (?:pub(?:\([^)]*\))? )?fn (\w+)", body, flags=re.MULTILINE)
    }


@pytest.mark.parametrize(("name", "many", "layers"), GUIDES)
def test_docs_follow_names_what_is_there(name: str, many: int, layers: int) -> None:
    """Every method that a guide names stands in the file it is linked to, and every method it names is linked."""
    guide = ROOT / "docs" / "guides" / name
    text = guide.read_text()
    files = dict(re.findall(r"^\[(\w+)\]: (\S+)$", text, flags=re.MULTILINE))
    mentions = re.findall(r"\[`([^`]+)`\]\[(\w+)\]", text)
    assert len(mentions) > many
    assert {label for _, label in mentions} == set(files)
    known: dict[str, set[str]] = {}
    for label, target in files.items():
        source = (guide.parent / target).read_text()
        known[label] = methods_of_python(source) if target.endswith(".py") else methods_of_rust(source)
    assert [(method, files[label]) for method, label in mentions if method not in known[label]] == []
    linked = {method for method, _ in mentions}
    named = set(re.findall(r"`(\w+(?:::|\.)\w+)`", text)) - {"journal.resumed"}
    assert {method for method in named if method not in linked} == set()
    # So do the directories of its table.
    directories = re.findall(r"^\| `([a-z0-9_/]+/)` \|", text, flags=re.MULTILINE)
    assert len(directories) == layers
    assert [one for one in directories if not (ROOT / one).is_dir()] == []
