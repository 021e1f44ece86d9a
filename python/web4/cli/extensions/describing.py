"""Runs in a worker, never in the command line's process: says what an extension's code declares (EXT-1, EXT-43).

It is an extension itself, started in the sandbox and with the limits of the one it looks at, in whose directory.
"""

from __future__ import annotations

import importlib
import operator
from typing import Any

from web4.ext import DeclarationError, Extension
from web4.ext.failures import error_frame

NAME = "web4.describing"
ext = Extension(NAME)
_MACHINERY = ("<frozen importlib", "importlib/")
"""Frames between the import and what is imported: nobody's concern."""


@ext.tool
def describe(module: str, object: str) -> dict[str, Any]:  # noqa: A002 - as in the manifest
    """Import an extension and say what it declares: its name, its parts, and all that is wrong with them."""
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # whatever importing it raises is what is asked for
        frame = error_frame("describe", error)
        lines = [one for one in (frame.data or {}).get("traceback", ()) if not one.startswith(_MACHINERY)]
        return _said(problems=[frame.message], traceback=lines)
    try:
        found: Any = operator.attrgetter(object)(imported)
    except AttributeError:
        there = [name for name, value in vars(imported).items() if isinstance(value, Extension)]
        hint = f"; its extension is {module}:{there[0]}" if there else ""
        return _said(problems=[f"`entry.python`: {module} has no {object!r}{hint}"])
    if not isinstance(found, Extension):
        return _said(problems=[f"{module}:{object} is no Extension but of type {type(found).__name__}"])
    parts: dict[str, list[dict[str, Any]]] = {}
    problems = []
    for operation in found.operations():
        try:
            operation.prepare()
            parts.setdefault(f"{operation.kind}s", []).append(operation.describe())
        except DeclarationError as error:
            problems.append(str(error))
    return _said(name=found.name, parts=parts, problems=problems)


def _said(**said: Any) -> dict[str, Any]:
    return {"name": None, "parts": {}, "problems": [], "traceback": []} | said
