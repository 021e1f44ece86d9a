"""The programs of the guide on decisions and causes run as they stand, and print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "decisions-and-causes.md").read_text()
PROGRAMS = re.findall(
    r"<!-- file: (\S+) -->\n```python\n(.*?)```\n\nIt prints\n\n```\n(.*?)```", GUIDE, flags=re.DOTALL
)


@pytest.mark.parametrize(("name", "program", "shown"), PROGRAMS)
def test_docs_examples_run_decisions_and_causes(name: str, program: str, shown: str, tmp_path: Path) -> None:
    """DRIFT-3, MEM-2, MEM-4: each prints what the page shows."""
    (tmp_path / name).write_text(program)
    ran = subprocess.run(
        [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == shown


def test_docs_guide_has_its_programs() -> None:
    """None is passed over."""
    assert [name for name, _, _ in PROGRAMS] == ["mission.py", "causes.py"]
