"""Real processes: beside a node that writes, interrupted, read by somebody who goes away (JRN-11b, UX-6)."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli import journals
from tests.cli.command import COMMAND, ENVIRONMENT, here, process, start
from tests.cli.journals import PEER
from tests.cli.nodes import up
from web4.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


@contextmanager
def running(directory: Path, durability: str = "strict") -> Iterator[subprocess.Popen[str]]:
    """A node in a process of its own that writes all the time."""
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.journals", str(directory), durability],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert node.stdout is not None
        assert node.stdout.readline() == "writing\n"
        yield node
    finally:
        node.kill()
        node.communicate()


def end(node: subprocess.Popen[str]) -> int:
    """Let the node stop; how much it has written."""
    out, _ = node.communicate("", timeout=60)
    assert node.returncode == 0
    return int(out)


def record_numbers(lines: list[dict[str, Any]]) -> list[int]:
    return [one["record"]["seq"] for one in lines if one["type"] == "record"]


def test_beside_a_running_node(tmp_path: Path, capfd: Capture) -> None:
    """Read-only verbs work, the node goes on, and the verbs that write say who holds the lock."""
    with running(tmp_path / "journal", "relaxed") as node:
        assert process("journal", "stats", tmp_path, "--json").data["profile"] == "relaxed"
        for words in (
            ["tail", tmp_path, "-n", "5"],
            ["history", tmp_path],
            ["verify", tmp_path, "--json"],
            ["replay", tmp_path, "--json"],
            ["export", tmp_path, tmp_path / "bundle"],
            ["backup", tmp_path, tmp_path / "copy"],
            ["repair", tmp_path],
        ):
            done = here(capfd, "journal", *words)
            assert (done.exit, done.err) == (0, done.err if words[0] in {"tail", "history"} else "")
        for words in (["compact", tmp_path], ["repair", tmp_path, "--apply"], ["migrate", tmp_path]):
            done = here(capfd, "journal", *words, "--json")
            assert (done.code, done.exit) == ("journal_locked", 3)
            assert f"pid {node.pid}" in json.loads(done.out)["error"]["context"]["owner"]
        written = end(node)
    assert written > 4
    for place in (tmp_path, tmp_path / "copy", tmp_path / "bundle"):
        assert here(capfd, "journal", "verify", place).exit == 0
    copied = here(capfd, "journal", "stats", tmp_path / "copy", "--json").data["records"]
    assert 4 <= copied < written


def test_follow_through_a_restart(tmp_path: Path, capfd: Capture) -> None:
    """Every record once, over writes, a `kill -9`, and the next life of the node; then how to come back."""
    with running(tmp_path) as node:
        reader = start("journal", "tail", tmp_path, "--lane", PEER, "--after", "0", "--follow", "--json")
        try:
            lines = [read_line(reader) for _ in range(100)]
            node.kill()
            node.wait()
            with running(tmp_path) as again:
                lines += [read_line(reader) for _ in range(400)]
                written = end(again)
            while record_numbers(lines)[-1] < written:
                lines.append(read_line(reader))
            reader.send_signal(signal.SIGINT)
            out, err = reader.communicate(timeout=60)
        finally:
            reader.kill()
            reader.communicate()
    assert (reader.returncode, err) == (130, "")
    assert record_numbers(lines) == list(range(1, written + 1))
    [summary] = [json.loads(line) for line in out.splitlines()]
    assert summary["data"]["records"] == written
    cursor = summary["data"]["cursor"]
    rest = here(capfd, "journal", "tail", tmp_path, "--lane", PEER, "--after", cursor, "--json")
    assert json.loads(rest.out)["data"] == {"records": 0, "cursor": cursor}


def read_line(reader: subprocess.Popen[str]) -> dict[str, Any]:
    assert reader.stdout is not None
    line: dict[str, Any] = json.loads(reader.stdout.readline())
    return line


def test_follow_all_lanes_from_before_the_first_record(tmp_path: Path) -> None:
    """A lane that nobody wrote yet is waited for; SIGTERM ends it as cleanly."""
    journals.make(tmp_path / "journal", peers=0, strange=1)
    reader = start("journal", "tail", tmp_path, "--lane", PEER, "--follow", "--json")
    try:
        assert reader.stderr is not None
        assert "waiting for its first record" in reader.stderr.readline()
        with running(tmp_path / "journal"):
            assert read_line(reader)["record"]["seq"] == 1
        reader.send_signal(signal.SIGTERM)
        out, err = reader.communicate(timeout=60)
    finally:
        reader.kill()
        reader.communicate()
    assert (reader.returncode, err) == (143, "")
    assert json.loads(out.splitlines()[-1])["type"] == "summary"


def test_interrupted_while_nobody_reads(tmp_path: Path) -> None:
    """A reader that stands still does not keep it from being interrupted."""
    journals.make(tmp_path / "journal", peers=900)
    reader = start("journal", "tail", tmp_path, "--after", "0", "--json")
    try:
        assert reader.stdout is not None
        select.select([reader.stdout], [], [])  # it writes: the pipe is full before it is done
        reader.send_signal(signal.SIGINT)
        assert reader.wait(timeout=60) == 130
        assert reader.stderr is not None
        assert "Traceback" not in reader.stderr.read()
    finally:
        reader.kill()
        reader.communicate()


@pytest.mark.parametrize("words", [["tail", "--after", "0", "--json"], ["--help"]])
def test_reader_goes_away(tmp_path: Path, words: list[str]) -> None:
    """`web4 … | head -1`: no traceback, no complaint; the exit code is that of SIGPIPE."""
    journals.make(tmp_path / "journal", peers=600)
    place = [] if words == ["--help"] else [words[0], tmp_path]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "journal", *map(str, place), *words[len(place) // 2 :]],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )
    os.close(writer)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    """A full disk behind standard output, and none at all: no traceback."""
    journals.make(tmp_path / "journal", strange=0, peers=1)
    line = f"{' '.join(COMMAND)} journal tail {tmp_path}"
    script = f"{line} --json > /dev/full; echo $? >&2; {line} >&- ; echo $? >&2"
    done = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    told, full, _, closed = done.stderr.splitlines()
    assert json.loads(told)["error"]["message"] == "standard output: No space left on device"
    assert (full, closed) == ("3", "0")


def test_terminal(tmp_path: Path) -> None:
    """On a terminal: colours, and progress on standard error; `--json` stays JSON all the same."""
    journals.make(tmp_path / "journal", peers=600)
    for words, clean in ((["verify"], b"\x1b[32mclean"), (["verify", "--json"], b'{"ok":true')):
        ours, theirs = pty.openpty()
        done = subprocess.Popen(
            [*COMMAND, "journal", words[0], str(tmp_path), *words[1:]],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.DEVNULL if "--json" in words else theirs,
            env=ENVIRONMENT | {"TERM": "xterm"},
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # the other end was closed
            pass
        os.close(ours)
        assert done.wait(timeout=60) == 0
        assert clean in shown
        assert (b"\x1b" in shown) == ("--json" not in words)
        assert (b"records" in shown.partition(b"id  ")[0]) or "--json" in words


def test_interrupted_copy_leaves_nothing(tmp_path: Path) -> None:
    """UX-6: nothing half-written stays behind, whenever it was interrupted."""
    journals.make(tmp_path / "journal", peers=1500)
    for name in ("backup", "export"):
        reader, writer = os.pipe()
        stuck = subprocess.Popen(
            [*COMMAND, "journal", name, str(tmp_path), str(tmp_path / name)],
            stdout=writer,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
        )
        os.close(writer)
        while stuck.poll() is None and not list(tmp_path.glob(f".{name}.*.partial")):
            time.sleep(0.002)
        stuck.send_signal(signal.SIGINT)
        code = stuck.wait(timeout=60)
        os.close(reader)
        assert code in {0, 130, 141}
        assert (tmp_path / name).exists() == (code != 130)
        assert not list(tmp_path.glob(".*.partial"))


def test_lean_start(tmp_path: Path) -> None:
    """What is not needed is not imported: no room of protocols for `stats`, next to nothing for `--version`."""
    journals.make(tmp_path / "journal")
    probe = "import sys; from web4.cli import main; main({!r}); print(*sorted(sys.modules))"
    for words, never in (
        (["--version"], {"trio", "cyclopts", "rich", "apsw", "msgspec", "web4.journal"}),
        (
            ["journal", "stats", str(tmp_path)],
            {"rich", "web4.protocols", "web4.trust", "web4.actors", "web4.rtt", "psycopg"},
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-c", probe.format(words)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        imported = set(done.stdout.splitlines()[-1].split())
        assert not never & imported
    assert main(["--version"]) == 0


def test_a_node_that_does_not_answer(tmp_path: Path) -> None:
    """`down` waits as long as it was told to, also for the answer, and says which process is stuck: exit code 4."""
    with up(tmp_path / "ada") as ada:
        ada.process.send_signal(signal.SIGSTOP)
        try:
            done = process("down", "--data", ada.data, "--wait", "1", "--json", timeout=30)
        finally:
            ada.process.send_signal(signal.SIGCONT)
        assert (done.code, done.exit) == ("no_answer", 4)
        assert str(ada.process.pid) in json.loads(done.out)["error"]["message"]
