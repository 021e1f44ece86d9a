"""The guide names tests that are there, its program runs, and the surprises it tells of are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker.sandbox import surprises
from tests.worker.sandbox.inside import asked, run

HERE = Path(__file__).parent
PROCESSES = HERE.parents[1] / "extensions" / "processes"
GUIDE = HERE.parents[2] / "docs" / "guides" / "the-sandbox.md"


def test_docs_claims_name_tests() -> None:
    named = set(re.findall(r"`(test_\w+)`", GUIDE.read_text()))
    written = {
        name
        for path in (*HERE.glob("test_*.py"), *PROCESSES.glob("test_*.py"))
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.M)
    }
    assert len(named) > 30
    assert named <= written


def test_docs_example_runs(tmp_path: Path) -> None:
    (program,) = re.findall(
        r"<!-- file: look.py -->\n```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    first, *levels = ran.stdout.splitlines()
    assert first.startswith("Landlock ABI ")
    assert [line.split()[0] for line in levels] == ["none", "standard", "strict"]


@pytest.mark.parametrize("level", ["standard", "strict"])
def test_docs_surprises_are_true(tmp_path: Path, level: str) -> None:
    ran = run(
        asked(tmp_path, level="strict" if level == "strict" else "standard"),
        (surprises.account,),
        (surprises.library,),
        (surprises.copy, str(tmp_path / "tmp")),
        (surprises.copy_contents, str(tmp_path / "tmp")),
        (surprises.lock, sys.executable),
        (surprises.group_of, 1),
    )
    account, library, copy, contents, lock, group = ran.outcomes
    assert account.startswith("KeyError")
    assert library is None
    assert copy == "EPERM"
    assert contents == "hello"
    assert lock is None
    assert isinstance(group, int)
