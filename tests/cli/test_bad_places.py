"""Odd words, odd terminals, odd users: an answer that says what is wrong, never an internal error (UX-2 to UX-4)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import web4
from tests.cli.command import COMMAND, ENVIRONMENT, here
from tests.cli.nodes import UpNode, fine, up
from web4.cli.failing import failure_of
from web4.doors.control.errors import CommandRefused, ControlError
from web4.journal.errors import JournalUnavailable
from web4.protocols.errors import OutboxFull

if TYPE_CHECKING:
    from collections.abc import Iterator

    from web4.foundation.errors import Web4Error

Capture = pytest.CaptureFixture[str]
PACKAGE = str(Path(web4.__file__).parents[1])
"""Where it is imported from, however the current directory is called."""
LONG = "a" * (10 * 1024 * 1024)


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpNode]:
    """A node that runs."""
    with up(tmp_path_factory.mktemp("nodes") / "ada") as node:
        yield node


@pytest.mark.parametrize("columns", ["0", "1", "-5", "many", "", "40"])
def test_help_on_an_odd_terminal(columns: str, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """UX-2: whatever says how wide the terminal is, help can be read."""
    monkeypatch.setenv("COLUMNS", columns)
    done = fine(here(capfd, "peer", "add", "--help"))
    assert "FINGERPRINT" in done.out
    assert max(map(len, done.out.splitlines())) <= (40 if columns == "40" else 80)


@pytest.mark.parametrize(
    "words",
    [("status", "--data", ""), ("status", "--data="), ("init", "--data", ""), ("up", "--config", "")],
)
def test_a_path_without_a_name(
    words: tuple[str, ...], tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UX-4: `--data "$UNSET"` is no way to make a node of the directory one stands in."""
    monkeypatch.chdir(tmp_path)
    done = here(capfd, *words, "--json")
    assert (done.code, done.exit) == ("usage", 2)
    assert "it is empty" in done.out
    assert not list(tmp_path.iterdir())


VERY_LONG = (
    ("peer", "show", LONG),
    ("peer", "add", LONG, "5a" * 32),
    ("trust", "block", LONG, "--reason", "x"),
    ("trust", "block", "5a" * 32, "--reason", LONG),
    ("claim", "show", LONG),
    ("claim", "propose", LONG, "--domain", "d"),
    ("claim", "ls", "--status", LONG),
    ("consent", "grant", LONG, "--new"),
    ("consent", "answer", LONG, "yes"),
    ("source", "block", LONG, "--reason", "x"),
    ("evidence", "show", LONG),
    ("evidence", "export", LONG),
    (LONG,),
    ("status", "--data", f"/{LONG}"),
)


@pytest.mark.parametrize("words", VERY_LONG, ids=lambda words: " ".join(words)[:24])
def test_ten_mebibytes(words: tuple[str, ...], ada: UpNode, capfd: Capture) -> None:
    """UX-4: a value of 10 MiB is refused like any other, in a message that can be read; the node goes on."""
    where = () if "--data" in words else ("--data", ada.data)
    done = here(capfd, *words, *where, "--json")
    assert done.exit in {2, 3, 5, 6}, done
    error = json.loads(done.out)["error"]
    assert error["code"] not in {"internal", "bad_answer", "no_answer"}
    assert 0 < len(error["message"]) < 2_100
    assert fine(here(capfd, "status", "--data", ada.data, "--json")).data["running"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="to become another user takes root")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="to become another user takes setpriv")
def test_a_user_without_a_name(ada: UpNode) -> None:
    """As in a container: a number that no file of users has, and no home. The node's own user is who runs it."""
    nobody = ("setpriv", "--reuid=4242", "--regid=4242", "--clear-groups")
    bare = {name: value for name, value in ENVIRONMENT.items() if name not in {"HOME", "LOGNAME", "USER"}}
    bare["PYTHONPATH"] = PACKAGE
    done = subprocess.run(
        [*nobody, *COMMAND, "status"],
        capture_output=True,
        text=True,
        check=False,
        env=bare,
        timeout=60,
        cwd="/",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "name the node's with --data" in done.stderr
    stranger = subprocess.run(
        [*nobody, *COMMAND, "trust", "block", "5a" * 32, "--reason", "x", "--data", ada.data, "--json"],
        capture_output=True, text=True, check=False, env=bare, timeout=60, cwd="/",
    )  # fmt: skip
    assert stranger.returncode == 3
    assert json.loads(stranger.stdout)["error"]["code"] != "internal"


def test_a_name_for_who_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever acts is recorded, by number where there is no name."""
    from web4.cli.node.reaching import human_name

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 4242")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert human_name(None) == f"uid:{os.getuid()}"
    assert human_name("grace") == "grace"


@pytest.mark.parametrize(
    ("error", "exit_"),
    [
        (JournalUnavailable("it failed", code="failed"), 3),
        (JournalUnavailable("it was closed", code="closed"), 3),
        (JournalUnavailable("nobody knows", code="outcome_unknown"), 3),
        (ControlError("no answer", code="bad_answer"), 3),
        (CommandRefused("invalid_command: peer_dance", code="invalid_command"), 3),
        (OutboxFull("it is full", code="outbox_full"), 5),
    ],
    ids=lambda one: getattr(one, "code", one),
)
def test_exit_codes_of_what_nobody_mistyped(error: Web4Error, exit_: int) -> None:
    """UX-2: exit code 2 is for what was given; what the node or its disk cannot do is 3, what a limit refuses 5."""
    assert failure_of(error).exit == exit_


def test_a_current_directory_that_is_gone(tmp_path: Path) -> None:
    """UX-4: said, not reported as internal."""
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd "{gone}" && rmdir "{gone}" && exec "$@"'
    for words in (("status", "--data", "ada"), ("init", "--data", "eve"), ("evidence", "export", "x.warc")):
        done = subprocess.run(
            ["sh", "-c", script, "sh", *COMMAND, *words, "--json"],
            capture_output=True, text=True, check=False, env=ENVIRONMENT | {"PYTHONPATH": PACKAGE}, timeout=60,
        )  # fmt: skip
        gone.mkdir(exist_ok=True)
        error = json.loads(done.stdout)["error"]
        assert (error["code"], done.returncode) == ("os", 3)
        assert "current directory is not there" in error["message"]
