"""Floor 9: the command line. Verbs are thin faces; each is imported when it is called, and not before."""

from __future__ import annotations

import importlib
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run `web4` with `arguments`, those of the process if left out; its exit code (UX-2)."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given == ["--version"]:
            sys.stdout.write(f"web4 {_version()}\n")
            sys.stdout.flush()
            return 0
        running = importlib.import_module("web4.cli.running")
        return int(running.run(given))
    except KeyboardInterrupt:
        return 130


def _version() -> str:
    """That of the native core, which is the package's: reading it costs least."""
    core = importlib.import_module("web4._core")
    return str(core.build_info()[0])
