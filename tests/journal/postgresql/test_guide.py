"""docs/guides/postgresql.md, as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "postgresql.md"


def test_docs_examples_run_postgresql(database: str, tmp_path: Path) -> None:
    """The move runs, and prints what the page shows."""
    text = GUIDE.read_text()
    for name, program in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / name).write_text(program)
    ran = subprocess.run(
        [sys.executable, "move.py", str(tmp_path / "journal"), database],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (shown,) = re.findall(r"\nIt prints\n\n```\n(.*?)```", text, flags=re.DOTALL)
    assert ran.stdout == shown
