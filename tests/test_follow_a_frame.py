"""The guide that follows one frame names what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

GUIDE = Path(__file__).parents[1] / "docs" / "guides" / "follow-a-frame.md"


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


def test_docs_follow_a_frame_names_what_is_there() -> None:
    """Every method that the guide names stands in the file it is linked to, and every method it names is linked."""
    text = GUIDE.read_text()
    files = dict(re.findall(r"^\[(\w+)\]: (\S+)$", text, flags=re.MULTILINE))
    mentions = re.findall(r"\[`([^`]+)`\]\[(\w+)\]", text)
    assert len(mentions) > 50
    assert {label for _, label in mentions} == set(files)
    known: dict[str, set[str]] = {}
    for label, target in files.items():
        source = (GUIDE.parent / target).read_text()
        known[label] = methods_of_python(source) if target.endswith(".py") else methods_of_rust(source)
    assert [(name, files[label]) for name, label in mentions if name not in known[label]] == []
    linked = {name for name, _ in mentions}
    assert {name for name in re.findall(r"`(\w+(?:::|\.)\w+)`", text) if name not in linked} == set()


def test_docs_follow_a_frame_names_files_that_are_there() -> None:
    """So do the directories of its table, and the pages it leads to."""
    text = GUIDE.read_text()
    root = GUIDE.parents[2]
    directories = re.findall(r"^\| `([a-z0-9_/]+/)` \|", text, flags=re.MULTILINE)
    assert len(directories) == 5
    assert [name for name in directories if not (root / name).is_dir()] == []
    pages = re.findall(r"\]\(([^)]+\.md)\)", text)
    assert pages
    assert [name for name in pages if not (GUIDE.parent / name).is_file()] == []
