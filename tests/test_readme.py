"""What the README shows works as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_docs_examples_run_readme() -> None:
    """The embed example of the README is a whole program: it runs, and prints what its comments say."""
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    holds, answers = done.stdout.splitlines()
    assert holds.endswith("probing")
    assert answers == "bob answers done {'about': 'the weather', 'forecast': 'dry'}"


def test_docs_links_lead_somewhere() -> None:
    """Every relative link of the README names a file that is there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
