"""The mesh demo as a user runs it: as a program, its nodes in processes of their own (DEMO-2 to DEMO-5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from web4.cli import running
from web4.demo.ring.checks import MESH_CHECKS
from web4.demo.ring.layout import MOST, NAMES, STRANGER, Layout
from web4.observe import event_schemas

DEMO = Path(__file__).parents[2] / "scripts" / "web4_mesh_demo.py"
LONG = "240"
"""Seconds that a run may take here, where others run as well; alone it takes a tenth of it."""
PATIENCE = 260
NO_EVENTS = {"ready", "answer", "summary"}
"""What lines say beside events of nodes."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.split("\n") if line]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_mesh_demo_exit_codes(tmp_path: Path) -> None:
    """DEMO-4: all checks pass with 0; every event fits its schema (OBS-1), and no process is left, nor a file.

    Over TCP, its default, `.ci/run` runs the demo as its users do.
    """
    done = subprocess.run(
        [sys.executable, str(DEMO), "--json", "--timeout", LONG, "--transport", "unix"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    *events, summary = objects(done.stdout)
    assert done.returncode == 0, (done.stderr, summary)
    assert summary["ok"] is True
    assert [check["name"] for check in summary["checks"]] == list(MESH_CHECKS)
    assert {check["status"] for check in summary["checks"]} == {"passed"}
    assert {event["node"] for event in events} == {*NAMES[:4], STRANGER}
    assert not any(alive(pid) for pid in {event["pid"] for event in events})
    assert list(tmp_path.iterdir()) == []
    schemas = {name: jsonschema.Draft202012Validator(schema) for name, schema in event_schemas().items()}
    for event in events:
        if event["type"] not in NO_EVENTS:
            as_emitted = {
                name: value for name, value in event.items() if name not in {"pid", "outcome", "code"}
            }
            schemas[event["type"]].validate(as_emitted)


@pytest.mark.parametrize("check", ["hop_is_blind", "introduction_probing", "service_invoke"])
def test_mesh_demo_sabotage(check: str) -> None:
    """DEMO-3: a sabotaged step makes exactly its own check fail, so no check passes by itself."""
    done = run("--json", "--timeout", LONG, "--sabotage", check)
    assert done.returncode == 1, done.stderr
    statuses = {entry["name"]: entry["status"] for entry in objects(done.stdout)[-1]["checks"]}
    assert [name for name, status in statuses.items() if status == "failed"] == [check], statuses


def test_mesh_demo_exit_codes_usage_environment_timeout(tmp_path: Path) -> None:
    """DEMO-4: 2 for usage, 3 for the environment, 4 for the timeout, each with a word and no traceback."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    cases = [
        (2, ["--nodes", "3"]),
        (2, ["--nodes", "11"]),
        (2, ["--kill", "mallory"]),
        (2, ["--kill", "eve"]),  # she is the fifth
        (2, ["--sabotage", "nothing"]),
        (3, ["--keep", str(in_the_way / "below")]),
        (3, ["--transport", "unix", "--keep", str(tmp_path / ("k" * 120))]),
        (4, ["--timeout", "0.05"]),
    ]
    for code, arguments in cases:
        done = run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stderr
        assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_mesh_demo_clean_interrupt(tmp_path: Path, signal_number: signal.Signals) -> None:
    """DEMO-4: Ctrl-C ends it with 130, however often; no process and no file is left."""
    process = subprocess.Popen(
        [sys.executable, str(DEMO), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    for _ in range(3):
        process.send_signal(signal_number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not any(alive(pid) for pid in {first["pid"], *(event["pid"] for event in objects(output))})
    assert list(tmp_path.iterdir()) == []


def test_mesh_demo_list(capsys: pytest.CaptureFixture[str]) -> None:
    """DEMO-3: `--list` names every check and starts nothing; `web4 mesh demo` is the same program."""
    done = run("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(MESH_CHECKS)
    assert running.run(["mesh", "demo", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MESH_CHECKS)


@pytest.mark.parametrize("number", range(4, MOST + 1))
def test_whichever_node_is_lost_the_two_that_ask_have_a_way(number: int) -> None:
    """MESH-3: no way has more than three hops, however many nodes there are and whichever is killed."""
    layout = Layout(number)
    first, far = layout.names[0], layout.far()
    assert far not in layout.neighbours(first)
    for lost in set(layout.names) - {first, far}:
        assert layout.distance(first, far, without=lost) <= 4
    assert all(layout.distance(one, other) <= 4 for one, other in layout.apart())
