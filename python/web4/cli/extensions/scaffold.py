"""The files of a new extension: small, whole, and with a test that passes."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from web4.cli.errors import CommandError

NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

_MANIFEST: Final = """\
schema = 1
protocol = 1
name = "{name}"
version = "0.1.0"
description = "Greets people."

[entry]
python = "{module}:ext"

[[tools]]
# The schemas are what the types in the code say; `web4 ext check DIR --write` writes them anew when those have changed.
name = "greet"
description = "Greet somebody by name."
timeout_ms = 5000
idempotent = true
input_schema = {{ type = "object", properties = {{ who = {{ type = "string" }}, \
times = {{ type = "integer", default = 1 }} }}, \
required = ["who"], additionalProperties = false }}
output_schema = {{ type = "array", items = {{ type = "string" }} }}

# What one worker may use at most. More is asked for here, and shown to whoever enables it.
[resources]
memory_mb = 128
cpu_seconds = 10
workers = 2

# No network, no files but its own, no programs of its own making. `web4 doctor` says what this machine enforces.
[sandbox]
level = "standard"
network = "deny"
"""

_MODULE: Final = '''\
"""{name}: an extension of Web4. It runs in processes of its own, never in the node's."""

from __future__ import annotations

from web4.ext import Context, Extension

ext = Extension("{name}")


@ext.tool(timeout_ms=5_000, idempotent=True)
async def greet(ctx: Context, who: str, times: int = 1) -> list[str]:
    """Greet somebody by name."""
    await ctx.progress("clearing my throat", fraction=0.5)
    return [f"Hello, {{who}}!"] * times
'''

_TEST: Final = '''\
"""Runs the extension in a real worker, with the limits it will have."""

from pathlib import Path

import trio
from web4.ext.testing import Harness


def test_greet() -> None:
    async def greet() -> None:
        async with Harness(Path(__file__).parent) as harness:
            assert await harness.value("greet", {{"who": "Ada"}}) == ["Hello, Ada!"]

    trio.run(greet)
'''

_PYTEST: Final = """\
# Its cache would be a change of this directory, and the extension would have to be enabled anew.
[pytest]
addopts = -p no:cacheprovider
"""


def module_of(name: str) -> str:
    """What the Python module of an extension is called."""
    return re.sub(r"[.-]", "_", name)


def check_name(name: str) -> None:
    """See that an extension can be called so (EXT-5).

    Raises:
        CommandError: `usage`.
    """
    if NAME.fullmatch(name) is None:
        raise CommandError(
            f"{name!r} is no name of an extension: a letter of a-z, then up to 63 of a-z, 0-9, _, . and -",
            code="usage",
        )


def write_scaffold(name: str, target: Path) -> list[str]:
    """Write a new extension into the directory `target`, whole or not at all.

    Returns:
        The names of its files.

    Raises:
        CommandError: `usage`: no extension can have this name. `target_exists`.
        OSError: It cannot be written.
    """
    check_name(name)
    module = module_of(name)
    files = {
        "web4-extension.toml": _MANIFEST,
        f"{module}.py": _MODULE,
        f"test_{module}.py": _TEST,
        "pytest.ini": _PYTEST,
    }
    if target.exists() or target.is_symlink():
        raise CommandError(f"{target} is there already and is left alone", code="target_exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        draft.chmod(0o755)
        for file, text in files.items():
            (draft / file).write_text(text.format(name=name, module=module))
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return list(files)
