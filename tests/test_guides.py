"""The programs of the guides run as they stand."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from web4 import rtt

GUIDES = Path(__file__).parents[1] / "docs" / "guides"


def extract(guide: str, directory: Path) -> None:
    text = (GUIDES / guide).read_text()
    for name, program in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", text, flags=re.DOTALL):
        (directory / name).write_text(program)


def test_docs_examples_run_observing_a_transport(tmp_path: Path) -> None:
    """The hooks are called in order, and the metrics count what was done."""
    extract("observing-a-transport.md", tmp_path)
    ran = subprocess.run(
        [sys.executable, "observe.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    hooks = [line for line in lines if line.startswith("on_")]
    assert hooks[:2] == ["on_open ", "on_channel "]
    assert [line for line in lines if not line.startswith("on_")] == [
        "messages sent: 3",
        "p95 known: True",
        "sessions over: 1",
    ]


def test_docs_examples_run_reconnecting(tmp_path: Path) -> None:
    """The session survives the first break and not the second, and the page shows what the program prints."""
    extract("reconnecting.md", tmp_path)
    ran = subprocess.run(
        [sys.executable, "reconnecting.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    [shown] = re.findall(
        r"\nIt prints\n\n```\n(.*?)```", (GUIDES / "reconnecting.md").read_text(), flags=re.DOTALL
    )
    assert ran.stdout == shown


def test_docs_reconnecting_names_options_as_they_are() -> None:
    """The options of the table exist, and have the defaults that it says."""
    units = {"": 1, " s": 1, " MiB": 1 << 20, " GiB": 1 << 30}
    table = (GUIDES / "reconnecting.md").read_text().partition("| option | default |")[2]
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", table, flags=re.MULTILINE)
    said = {
        name: float(number.replace(",", "")) * units[unit]
        for names, values in rows
        for name, (number, unit) in zip(
            re.findall(r"`(\w+)`", names), re.findall(r"(\d[\d,.]*\d|\d)( s| MiB| GiB|)", values), strict=True
        )
    }
    assert len(said) == 11
    assert said == {name: getattr(rtt.Options(), name) for name in said}


def test_docs_examples_run_two_agents(tmp_path: Path) -> None:
    """Two programs, two processes: the question is asked, taken on, and answered."""
    extract("two-agents.md", tmp_path)
    bob = subprocess.Popen([sys.executable, "bob.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert bob.stdout is not None
        address, fingerprint = bob.stdout.readline().split()
        ada = subprocess.run(
            [sys.executable, "ada.py", address, fingerprint],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ada.returncode == 0, ada.stderr
        assert ada.stdout.splitlines() == ["accepted on it ", "done  {'forecast': 'dry'}"]
        assert bob.stdout.readline() == "asked about the weather by a peer held probing\n"
        bob.send_signal(signal.SIGINT)
        assert bob.wait(timeout=30) == 0
    finally:
        bob.kill()
        bob.wait()
        assert bob.stdout is not None
        bob.stdout.close()
