"""The public names of WEB-6, and for each a program that runs and prints what it says it prints."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import web4

EXAMPLES = Path(__file__).parents[2] / "examples"
PARTS = {
    "RttSession": "parts/rtt_session.py",
    "CipRuntime": "parts/cip_runtime.py",
    "HcpRuntime": "humans/asking_a_person.py",
    "LipRuntime": "parts/lip_runtime.py",
    "ProtocolRouter": "parts/protocol_router.py",
    "TrustFSM": "parts/trust_fsm.py",
    "AgentLoopAdapter": "parts/agent_loop.py",
    "ObservabilityHub": "parts/observability_hub.py",
    "Node": "parts/node.py",
}
"""That of `HcpRuntime` needs somebody who answers, and has a test of its own (tests/test_guides.py)."""
ALONE = sorted(name for name, path in PARTS.items() if path.startswith("parts/"))


@pytest.mark.parametrize("name", PARTS)
def test_public_names(name: str) -> None:
    """WEB-6: each part is importable from `web4`, and its example imports it from there."""
    part = getattr(web4, name)
    assert isinstance(part, type)
    assert part.__doc__
    tree = ast.parse((EXAMPLES / PARTS[name]).read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "web4"
        for alias in node.names
    }
    assert name in imported


@pytest.mark.parametrize("name", ALONE)
def test_docs_examples_run_parts(name: str) -> None:
    """The program prints what its first words say."""
    path = EXAMPLES / PARTS[name]
    shown = textwrap.dedent((ast.get_docstring(ast.parse(path.read_text())) or "").split("Prints\n\n")[1])
    ran = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    assert ran.returncode == 0, ran.stderr
    printed, expected = ran.stdout.splitlines(), shown.strip().splitlines()
    assert sorted(printed) == sorted(line.strip() for line in expected)
