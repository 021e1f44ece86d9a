"""Calling `web4` as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from web4.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

COMMAND = (sys.executable, "-m", "web4.cli")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "WEB4_HOME"}}


class Done(NamedTuple):
    """How a call ended."""

    exit: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What the answer says; the output is one object of JSON."""
        answer = json.loads(self.out)
        assert answer["ok"] is True
        return answer["data"]

    @property
    def code(self) -> str:
        """The code of the error; what standard error says is the same in JSON."""
        answer = json.loads(self.out.splitlines()[-1])
        assert answer["ok"] is False
        assert set(answer["error"]) == {"code", "message", "hint", "context"}
        assert json.loads(self.err.splitlines()[-1]) == {"error": answer["error"]}
        return str(answer["error"]["code"])


def here(capfd: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """Call it in this process."""
    capfd.readouterr()
    code = main([str(one) for one in arguments])
    out, err = capfd.readouterr()
    return Done(code, out, err)


def process(*arguments: object, timeout: float = 60, **options: Any) -> Done:
    """Call it in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=ENVIRONMENT,
        **options,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start it in a process of its own, with pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        **options,
    )


def files(directory: Path) -> dict[str, bytes]:
    """All there is in a directory, byte for byte; but for a log that is empty, and its index, which readers share."""
    found = {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }
    return {name: data for name, data in found.items() if data or not name.endswith("-wal")}
