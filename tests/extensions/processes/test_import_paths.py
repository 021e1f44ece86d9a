"""What workers import from and may read: not the directory of the program that runs the node (section 8, EXT-31)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[3] / "python"

PROGRAM = """
import sys, trio
from web4.ext.testing import Harness

async def main():
    async with Harness(sys.argv[1]) as harness:
        for path in sys.argv[2:]:
            print((await harness.call("read", {"path": path})).reason)

trio.run(main)
"""

EXTENSION = '''
import sys
from pathlib import Path
from web4.ext import Extension

ext = Extension("reader")

@ext.tool
def read(path: str) -> str:
    """Read."""
    return Path(path).read_text() if path else str(sys.path)
'''

MANIFEST = """
schema = 1
protocol = 1
name = "reader"
version = "1.0.0"
description = "Reads."
[entry]
python = "reader:ext"
[sandbox]
level = "{level}"
[[tools]]
name = "read"
description = "Read."
input_schema = {{ type = "object", properties = {{ path = {{ type = "string" }} }}, required = ["path"], \
additionalProperties = false }}
output_schema = {{ type = "string" }}
"""


@pytest.mark.parametrize("how", ["script", "module", "code"])
def test_what_lies_beside_the_program_is_not_for_extensions(how: str, tmp_path: Path) -> None:
    """A program lies where its settings lie. However it is started, an extension reads none of them."""
    program = tmp_path / "program"
    extension = program / ".web4" / "extensions" / "reader"
    extension.mkdir(parents=True)
    (extension / "reader.py").write_text(EXTENSION)
    (extension / "web4-extension.toml").write_text(
        MANIFEST.format(level="strict" if how == "code" else "standard")
    )
    (program / "agent.py").write_text(PROGRAM)
    (program / ".env").write_text("TOKEN=1")
    named = tmp_path / "named"
    named.mkdir()
    (named / "library.py").write_text("x = 1")
    start = {"script": ["agent.py"], "module": ["-m", "agent"], "code": ["-c", PROGRAM]}[how]
    done = subprocess.run(
        [sys.executable, *start, str(extension), str(program / ".env"), str(named / "library.py")],
        cwd=program,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join((str(PYTHON), str(named)))),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert "PermissionError" in first
    assert second == "None"  # what the operator names is there to be imported
