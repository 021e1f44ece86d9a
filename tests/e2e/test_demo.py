"""The demo as a user runs it: as a program, in processes of its own (DEMO-1, DEMO-3 to DEMO-5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from web4.demo.checks import CHECKS

DEMO = Path(__file__).parents[2] / "scripts" / "web4_demo.py"
PATIENCE = 90


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


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_demo_exit_codes(transport: str) -> None:
    """DEMO-4: all checks pass with 0, every event has its node and pid, and no process is left."""
    done = run("--json", "--transport", transport)
    assert done.returncode == 0, done.stderr
    *events, summary = objects(done.stdout)
    assert summary["type"] == "summary"
    assert summary["ok"] is True
    assert [check["name"] for check in summary["checks"]] == list(CHECKS)
    assert {check["status"] for check in summary["checks"]} == {"passed"}
    pids = {event["node"]: event["pid"] for event in events}
    assert set(pids) == {"alice", "bob", "mallory"}
    assert len(set(pids.values())) == 3
    assert not any(alive(pid) for pid in pids.values())


def test_demo_refusals_carry_their_code() -> None:
    """The five things a hostile process tries: each refused with its code, by the node it was tried on. What alice
    notices of bob's being killed, in the end, is no refusal of hers."""
    *events, _ = objects(run("--json").stdout)
    refused = [(event["node"], event["code"]) for event in events if event.get("outcome") == "refused"]
    assert [one for one in refused if one != ("alice", "unreachable")] == [
        ("bob", "gate"),
        ("bob", "damaged"),
        ("alice", "wrong_key"),
        ("bob", "signature"),
        ("bob", "nonce_replayed"),
        ("bob", "identity"),
    ]


@pytest.mark.parametrize("check", CHECKS)
def test_demo_sabotage(check: str) -> None:
    """DEMO-3: a sabotaged step makes exactly its own check fail, so no check passes by itself."""
    done = run("--json", "--sabotage", check)
    assert done.returncode == 1, done.stderr
    statuses = {entry["name"]: entry["status"] for entry in objects(done.stdout)[-1]["checks"]}
    assert [name for name, status in statuses.items() if status == "failed"] == [check]


def test_demo_exit_codes_usage_environment_timeout(tmp_path: Path) -> None:
    """DEMO-4: 2 for usage, 3 for the environment, 4 for the timeout, each with a word and no traceback."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    cases = [
        (2, ["--transport", "pigeon"]),
        (2, ["--sabotage", "nothing"]),
        (2, ["--timeout", "0"]),
        (3, ["--keep", str(in_the_way / "below")]),
        (4, ["--timeout", "0.05"]),
    ]
    for code, arguments in cases:
        done = run(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert done.stderr
        assert "Traceback" not in done.stderr


def test_demo_without_web4_says_how_to_get_it(tmp_path: Path) -> None:
    """DEMO-4: in an environment without Web4 the demo says what to do."""
    done = subprocess.run(
        [sys.executable, "-S", "-I", str(DEMO)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 3
    assert "make demo" in done.stderr


def test_demo_seed_repeats_identities() -> None:
    """DEMO-3: the same seed gives the same identities; without one they differ."""

    def fingerprints(*arguments: str) -> list[str]:
        events = objects(run("--json", *arguments).stdout)
        return [event["payload"]["fingerprint"] for event in events if event["type"] == "ready"]

    assert fingerprints("--seed", "7") == fingerprints("--seed", "7")
    assert fingerprints() != fingerprints()


@pytest.mark.parametrize("arguments", [["--transport", "unix", "--seed", "7"], []], ids=["seed", "no_seed"])
def test_demo_keep_remembers(tmp_path: Path, arguments: list[str]) -> None:
    """DEMO-3: with `--keep` a second run is the same agents with what they knew, before anybody dials."""
    fingerprints = []
    for number in range(2):
        done = run("--json", "--keep", str(tmp_path / "kept"), *arguments)
        *events, summary = objects(done.stdout)
        assert (done.returncode, summary["ok"]) == (0, True), (number, done.stderr, summary)
        ready = {
            event["node"]: event["payload"]["fingerprint"] for event in events if event["type"] == "ready"
        }
        fingerprints.append(ready)
        types = [event["type"] for event in events]
        early = events[: types.index("session_open")]
        told = [
            (event["node"], event["peer"], event["state"], event["payload"]["human"])
            for event in early
            if event["type"] == "remembered"
        ]
        expected = [
            ("alice", ready["bob"], "trusted", "alice's person"),
            ("bob", ready["alice"], "trusted", "bob's person"),
        ]
        assert told == (expected if number else [])
    for ready in fingerprints[1:]:
        assert {name: ready[name] for name in ("alice", "bob")} == {
            name: fingerprints[0][name] for name in ("alice", "bob")
        }
        assert ready["mallory"] != fingerprints[0]["mallory"], "whom bob has blacklisted would not come in"


def test_demo_of_a_damaged_directory_says_so(tmp_path: Path) -> None:
    """DEMO-4: what an earlier run could not write whole is the environment's fault: a word, no traceback."""
    (tmp_path / "bob").mkdir(mode=0o700)
    (tmp_path / "bob" / "lives").write_text("")
    done = run("--keep", str(tmp_path))
    assert done.returncode == 3
    assert "lives holds no number" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_of_a_journal_in_use_says_so(tmp_path: Path) -> None:
    """DEMO-4, JRN-11b: what another demo keeps at this moment is the environment's trouble."""
    kept = tmp_path / "kept"
    first = subprocess.Popen(
        [sys.executable, str(DEMO), "--json", "--keep", str(kept), "--seed", "7"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout is not None
        first.stdout.readline()
        second = run("--keep", str(kept), "--seed", "7")
        assert second.returncode == 3, second.stdout
        assert "Traceback" not in second.stderr
        first.stdout.read()
        assert first.wait(PATIENCE) == 0
    finally:
        first.kill()
        first.wait()
        assert first.stdout is not None
        first.stdout.close()


def test_demo_list() -> None:
    """DEMO-3: `--list` names every check and what it claims, and starts nothing."""
    done = run("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CHECKS)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_demo_clean_interrupt(tmp_path: Path, signal_number: signal.Signals) -> None:
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
    assert list(tmp_path.iterdir())
    for _ in range(5):
        process.send_signal(signal_number)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    pids = {first["pid"], *(event["pid"] for event in objects(output) if "pid" in event)}
    assert not any(alive(pid) for pid in pids)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("json_lines", [True, False])
def test_demo_whose_output_nobody_reads(json_lines: bool) -> None:
    """DEMO-4: piped into `head`, or onto a full disk, it ends with a word and leaves nothing."""
    command = [sys.executable, str(DEMO), *(["--json"] if json_lines else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(PATIENCE) == 3, errors
    assert "cannot be written" in errors
    assert len(errors.splitlines()) == 1, errors
    assert not json_lines or not alive(json.loads(first)["pid"])


def test_demo_whose_processes_cannot_start(tmp_path: Path) -> None:
    """DEMO-4: a socket path longer than the system takes is the environment's trouble, told at once and in a word."""
    done = run("--transport", "unix", "--keep", str(tmp_path / ("k" * 120)))
    assert done.returncode == 3, done.stderr
    assert "alice" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_json_lines_have_one_shape() -> None:
    """DEMO-3: every line, the summary included, says its type, its node and its process."""
    for line in objects(run("--json").stdout):
        assert isinstance(line["type"], str)
        assert isinstance(line["node"], str)
        assert isinstance(line["pid"], int)
