"""What a worker imports are the sources that were pinned, never a compiled cache (EXT-7)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FORGE = """
import importlib.util, marshal, os, sys
source, name = sys.argv[1], sys.argv[2]
status = os.stat(source)
cache = importlib.util.cache_from_source(source)
os.makedirs(os.path.dirname(cache), exist_ok=True)
code = compile("print('forged', __name__)", source, "exec")
data = importlib.util.MAGIC_NUMBER + (0).to_bytes(4, "little")
data += (int(status.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (status.st_size & 0xFFFFFFFF).to_bytes(4, "little")
open(cache, "wb").write(data + marshal.dumps(code))
"""
IMPORT = """
import importlib, sys
directory, path, guarded, *modules = sys.argv[1:]
sys.path.insert(0, path)
importlib.invalidate_caches()
try:
    importlib.import_module("nothing_of_this_name")  # finders of all directories are made
except ImportError:
    pass
if guarded == "guarded":
    from web4.ext.sources import import_from_sources
    import_from_sources(directory)
for module in modules:
    importlib.import_module(module)
"""


def run(program: str, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def sources(directory: Path) -> None:
    (directory / "inner").mkdir(parents=True)
    for path in (directory / "__init__.py", directory / "notes.py", directory / "inner" / "__init__.py"):
        path.write_text("print('pinned', __name__)\n")
        run(FORGE, path, path.stem)


@pytest.mark.parametrize(("guarded", "word"), [("guarded", "pinned"), ("bare", "forged")])
def test_a_forged_cache_is_not_believed(tmp_path: Path, guarded: str, word: str) -> None:
    """EXT-7: with the digest unchanged, code in `__pycache__` must not run. Bare Python does run it."""
    directory = tmp_path.resolve() / "site" / "acme"
    sources(directory)
    before = sorted(tmp_path.rglob("*"))
    assert run(IMPORT, directory, directory, guarded, "notes", "inner") == [f"{word} notes", f"{word} inner"]
    # Also when it is reached as part of the package that a wheel installed.
    assert run(IMPORT, directory, directory.parent, guarded, "acme.notes") == [
        f"{word} acme",
        f"{word} acme.notes",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_what_lies_elsewhere_is_imported_as_ever(tmp_path: Path) -> None:
    """Caches of other packages, the standard library's among them, save their time."""
    other = tmp_path.resolve() / "other"
    sources(other)
    (tmp_path / "acme").mkdir()
    assert run(IMPORT, tmp_path.resolve() / "acme", other, "guarded", "notes", "json") == ["forged notes"]
