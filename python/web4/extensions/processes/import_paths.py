"""What workers import from: Python's own and what is installed, not the directory of the program that runs the node."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import web4

_STARTED_IN: Final = os.path.realpath(".")
"""Where the program stood when it imported this, before it can have gone elsewhere."""
_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})


def import_paths() -> tuple[list[str], list[str]]:
    """The node's `sys.path`, in two parts: what workers import from and may read, and what is the program's alone.

    Python puts the directory of a script, or the one it was started in, into `sys.path` unasked: where a program lies,
    its settings and its users' files lie too, and no extension is given those (section 8). What an operator names in
    PYTHONPATH is meant to be imported from; so is wherever Web4 itself lies.
    """
    named = os.environ.get("PYTHONPATH", "") if not sys.flags.ignore_environment else ""
    meant = {os.path.realpath(one) for one in named.split(os.pathsep) if one}
    meant |= {os.path.realpath(Path(one).parent) for one in web4.__path__}
    unasked = _unasked() - meant
    path, program = [], []
    for one in dict.fromkeys(os.path.abspath(one) for one in sys.path):  # noqa: PTH100 - as the import system has them
        real = os.path.realpath(one)
        alone = real in unasked and Path(real).name not in _PACKAGES
        (program if alone else path).append(one)
    return path, program


def _unasked() -> set[str]:
    if sys.flags.safe_path:
        return set()
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if file is not None and getattr(main, "__spec__", None) is None:
        return {os.path.realpath(Path(file).parent)}  # a script
    return {_STARTED_IN}  # `-m`, `-c`, or at the prompt
