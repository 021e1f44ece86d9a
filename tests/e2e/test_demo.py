"""The demo as a user runs it: as a program, in processes of its own (DEMO-1, DEMO-3 to DEMO-5)."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from web4.demo.checks import CHECKS
from web4.demo.timeline import Timeline
from web4.observe import event_schemas

DEMO = Path(__file__).parents[2] / "scripts" / "web4_demo.py"
PATIENCE = 200
PROCESSES = {"alice", "bob", "mallory", "web"}
WHOLE = ("--json", "--seed", "7", "--timeout", "180")
OWN_LINES = {"ready", "answer", "summary"}
"""Lines that are no events of a node: what a process says of itself, or answers."""
OF_CARRIERS = {"unreachable", "unknown_session"}
"""Codes of refusals that a cut wire and a dead process lead to; nobody attacked."""
SABOTAGED = list(CHECKS) if os.environ.get("WEB4_SABOTAGE") == "all" else list(CHECKS)[3::6]
"""Each takes a run: a few by default, all of them where there is time."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def objects(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.split("\n") if line]


def ready_of(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """The identities of a run's processes."""
    ready = [line for line in objects(done.stdout) if line["type"] == "ready"]
    return {line["node"]: line["payload"]["fingerprint"] for line in ready}


def remembered_early(events: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """What nodes remembered before there was any session: who, whom, how far, and vouched for by whom."""
    early = events[: [event["type"] for event in events].index("session_open")]
    told = [(one, one["payload"]) for one in early if one["type"] == "answer"]
    return [
        (one["node"], one["peer"], payload["trust"], payload["human"])
        for one, payload in told
        if payload["about"] == "remembered"
    ]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the whole run over TCP."""
    return tmp_path_factory.mktemp("demo") / "kept"


@pytest.fixture(scope="module")
def over_tcp(kept: Path) -> subprocess.CompletedProcess[str]:
    return run(*WHOLE, "--keep", str(kept))


@pytest.fixture(scope="module")
def over_unix(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """UX-14: the same as `web4 demo`, which needs no checkout."""
    return subprocess.run(
        [sys.executable, "-m", "web4.cli", "demo", *WHOLE, "--transport", "unix"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )


@pytest.fixture(params=["over_tcp", "over_unix"])
def whole(request: pytest.FixtureRequest) -> subprocess.CompletedProcess[str]:
    """A run of the whole story."""
    done: subprocess.CompletedProcess[str] = request.getfixturevalue(request.param)
    return done


def test_demo_exit_codes(whole: subprocess.CompletedProcess[str]) -> None:
    """DEMO-1, DEMO-4: all checks pass with 0, every line has its node and pid, and no process is left."""
    *events, summary = objects(whole.stdout)
    unmet = [check for check in summary["checks"] if check["status"] != "passed"]
    assert (whole.returncode, unmet) == (0, []), whole.stderr
    assert [check["name"] for check in summary["checks"]] == list(CHECKS)
    assert {check["status"] for check in summary["checks"]} == {"passed"}
    pids = {name: {event["pid"] for event in events if event["node"] == name} for name in PROCESSES}
    assert {name: len(own) for name, own in pids.items()} == {"alice": 1, "bob": 2, "mallory": 1, "web": 1}
    assert len(set.union(*pids.values())) == 5
    assert not any(alive(pid) for pid in set.union(*pids.values()))


def test_demo_refusals_carry_their_code(whole: subprocess.CompletedProcess[str]) -> None:
    """What was refused, with its code, by the node it was tried on."""
    refused = [
        (event["node"], event["code"])
        for event in objects(whole.stdout)
        if event.get("outcome") == "refused" and event["code"] not in OF_CARRIERS
    ]
    assert list(dict.fromkeys(refused)) == [
        ("alice", "wrong_key"),
        ("bob", "gate"),
        ("bob", "damaged"),
        ("bob", "signature"),
        ("bob", "nonce_replayed"),
        ("bob", "identity"),
    ]


def test_obs_schema_every_event(whole: subprocess.CompletedProcess[str]) -> None:
    """OBS-1, OBS-2: every event of the demo is of a declared type, and fits the schema of that type."""
    validators = {name: jsonschema.Draft202012Validator(one) for name, one in event_schemas().items()}
    seen = set()
    for line in objects(whole.stdout):
        if line["type"] in OWN_LINES:
            continue
        event = {name: value for name, value in line.items() if name not in {"pid", "outcome", "code"}}
        assert [error.message for error in validators[event["type"]].iter_errors(event)] == [], event
        seen.add(event["type"])
    assert {
        "session_resume",
        "claim_accepted",
        "check_in_answered",
        "fetch_concluded",
        "worker_exited",
    } <= seen


def test_demo_json_lines_have_one_shape(whole: subprocess.CompletedProcess[str]) -> None:
    """DEMO-3: every line, the summary included, says its type, its node and its process."""
    for line in objects(whole.stdout):
        assert isinstance(line["type"], str)
        assert isinstance(line["node"], str)
        assert isinstance(line["pid"], int)


def test_demo_seed_repeats_identities(
    over_tcp: subprocess.CompletedProcess[str], over_unix: subprocess.CompletedProcess[str]
) -> None:
    """DEMO-3: the same seed gives the same identities, whatever bytes travel on."""
    assert ready_of(over_tcp) == ready_of(over_unix)


@pytest.mark.parametrize("check", SABOTAGED)
def test_demo_sabotage(check: str) -> None:
    """DEMO-3: a sabotaged step makes exactly its own check fail, so no check passes by itself."""
    done = run("--json", "--timeout", "180", "--sabotage", check)
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


@pytest.mark.parametrize("name", ["alice-7", "bob-7"])
def test_demo_kept_journals_hold_for_whoever_asks(
    kept: Path, over_tcp: subprocess.CompletedProcess[str], name: str
) -> None:
    """JRN-22b, JRN-23a: `web4 journal` verifies and replays every lane of what is kept, and calls, too."""
    assert over_tcp.returncode == 0, over_tcp.stderr
    answers = {}
    for verb in ("verify", "replay"):
        done = subprocess.run(
            [sys.executable, "-m", "web4.cli", "journal", verb, str(kept / name), "--json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        answers[verb] = json.loads(done.stdout)["data"]
    assert answers["verify"]["schemas_unknown"] == []
    assert answers["replay"]["not_replayable"] == []
    kinds = {one["lane"].partition(":")[0] for one in answers["replay"]["lanes"]}
    assert kinds >= {"human", "knowledge", "peer", "server"}
    assert ("session" in kinds) == (name == "alice-7")  # it is she who calls an extension


def test_demo_keep_remembers(kept: Path, over_tcp: subprocess.CompletedProcess[str]) -> None:
    """DEMO-3: with `--keep` a second run is the same agents with what they knew, before anybody dials."""
    again = run(*WHOLE, "--keep", str(kept))
    *events, summary = objects(again.stdout)
    assert (again.returncode, summary["ok"]) == (0, True), (again.stderr, summary)
    first, second = ready_of(over_tcp), ready_of(again)
    assert {name: second[name] for name in ("alice", "bob")} == {
        name: first[name] for name in ("alice", "bob")
    }
    assert second["mallory"] != first["mallory"], "whom bob has blacklisted would not come in"
    assert remembered_early(objects(over_tcp.stdout)[:-1]) == []
    assert remembered_early(events) == [
        ("alice", second["bob"], "trusted", "alice's person"),
        ("bob", second["alice"], "trusted", "bob's person"),
    ]


def test_demo_keep_without_a_seed(tmp_path: Path) -> None:
    """DEMO-3: identities of a kept directory stay; those of another directory are others."""
    runs = [run("--json", "--keep", str(tmp_path / name), "--sabotage", "rtt_open") for name in "aab"]
    first, second, other = ({name: ready_of(done)[name] for name in ("alice", "bob")} for done in runs)
    assert first == second
    assert not set(first.values()) & set(other.values())


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
        first.send_signal(signal.SIGINT)
        first.stdout.read()
        assert first.wait(PATIENCE) == 130
    finally:
        first.kill()
        first.wait()
        assert first.stdout is not None
        first.stdout.close()


@pytest.mark.parametrize("command", [[str(DEMO)], ["-m", "web4.cli", "demo"]], ids=["script", "verb"])
def test_demo_list_and_usage(command: list[str]) -> None:
    """DEMO-3, DEMO-4: `--list` names every check and what it claims, and starts nothing; nor does what is wrong."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        given = [sys.executable, *command, *arguments]
        return subprocess.run(given, capture_output=True, text=True, timeout=PATIENCE, check=False)

    done = call("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CHECKS)
    for wrong in (["--transport", "pigeon"], ["--sabotage", "nothing"], ["--timeout", "0"]):
        refused = call(*wrong)
        assert (refused.returncode, refused.stdout) == (2, ""), wrong
        assert "Traceback" not in refused.stderr


def test_demo_timeline_shows_no_control_characters() -> None:
    """DEMO-1, UX-7: what others wrote moves no cursor and changes no colour; NO_COLOR and pipes get plain lines."""
    out = io.StringIO()
    timeline = Timeline(json=False, out=out)
    mono_ns, payload = 1, {"reason": "\x1b[2Jgone\r\u202e", "statement": "two\nlines"}
    timeline.event({"type": "error", "node": "al\x1bice", "pid": 1, "mono_ns": mono_ns, "payload": payload})
    timeline.note("plain")
    (row, _, note) = out.getvalue().splitlines()
    assert "\\x1b[2Jgone\\x0d\\u202e" in row
    assert "two\\x0alines" in row
    assert not any(character in out.getvalue() for character in "\x1b\r\u202e")
    assert note == "plain"


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
    assert "wire.sock" in done.stderr
    assert "Traceback" not in done.stderr
