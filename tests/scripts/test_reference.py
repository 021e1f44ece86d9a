"""The reference of errors is complete and current (ERR-1)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import web4
from scripts.reference import DIRECTORY, declared_errors, pages
from web4.foundation.errors import Web4Error

PAGES = pages()
SOURCES = sorted(Path(web4.__path__[0]).rglob("*.py"))


@pytest.mark.parametrize("name", PAGES)
def test_reference_is_current(name: str) -> None:
    """If this fails, run `python -m scripts.reference`."""
    assert (DIRECTORY / name).read_text(encoding="utf-8") == PAGES[name]


def test_every_error_class_and_code_is_listed() -> None:
    """ERR-1, read from the sources: no class below `Web4Error` is missing, and no code that is raised."""
    listed = {leaf.__name__: {entry.code for entry in leaf.codes} for leaf in declared_errors()}
    for name, codes in listed.items():
        assert name in PAGES["errors.md"]
        assert all(f"| `{code}` |" in PAGES["errors.md"] for code in codes)
    bases = {"Web4Error", *listed}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(name_of(base) in bases for base in node.bases):
                assert node.name in listed, f"{source}: {node.name}"
            if isinstance(node, ast.Call) and name_of(node.func) in listed:
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        leaf = name_of(node.func)
                        assert keyword.value.value in listed[leaf], f"{source}:{node.lineno}: {leaf}"


def test_an_error_of_a_test_is_not_listed() -> None:
    class LocalError(Web4Error):
        """Only here."""

    assert LocalError not in declared_errors()
    del Web4Error.registry["LocalError"]


def name_of(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""
