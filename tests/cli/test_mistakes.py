"""Users' mistakes: a code, a message that says what to do, the right exit code, no traceback (UX-3, UX-4)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import apsw
import pytest

from tests.cli import journals
from tests.cli.command import Done, files, here
from web4.cli.app import JOURNAL

if TYPE_CHECKING:
    from pathlib import Path

    Capture = pytest.CaptureFixture[str]

VERBS = sorted(JOURNAL)
TWO = {"export", "backup"}
"""Verbs that take a target too."""
CANNOT_LOOK = {"verify", "replay"}
"""Verbs all of whose errors are exit 2 (UX-13)."""


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal at rest. Nobody changes it."""
    return journals.make(tmp_path_factory.mktemp("journals") / "one")


def call(capfd: Capture, verb: str, directory: object, tmp_path: Path, *options: object) -> Done:
    """Call a verb with JSON."""
    target = [tmp_path / "target"] if verb in TWO else []
    done = here(capfd, "journal", verb, directory, *target, *options, "--json")
    assert "Traceback" not in done.err
    assert not (tmp_path / "target").exists()
    assert not list(tmp_path.glob(".target*"))
    return done


def expect(done: Done, verb: str, code: str, exit_: int) -> None:
    assert (done.code, done.exit) == (code, 2 if verb in CANNOT_LOOK else exit_)


@pytest.mark.parametrize("verb", VERBS)
def test_there_is_no_journal(verb: str, tmp_path: Path, capfd: Capture) -> None:
    """No directory, an empty one, a file, a link that leads nowhere: nothing is made there."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "file").write_text("no journal")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for name in ("nowhere", "empty", "file", "link"):
        expect(call(capfd, verb, tmp_path / name, tmp_path), verb, "not_found", 6)
    assert not list(empty.iterdir())
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_there_is_no_journal(verb: str, tmp_path: Path, capfd: Capture) -> None:
    """Another database, any file of that name, a directory of that name: refused, and left as it is."""
    for name in ("text", "database", "directory"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "text" / "journal.db").write_text("no journal")
    connection = apsw.Connection(str(tmp_path / "database" / "journal.db"))
    connection.execute("CREATE TABLE something (text)")
    connection.close()
    (tmp_path / "directory" / "journal.db").mkdir()
    for name in ("text", "database"):
        before = (tmp_path / name / "journal.db").read_bytes()
        expect(call(capfd, verb, tmp_path / name, tmp_path), verb, "not_a_journal", 2)
        assert (tmp_path / name / "journal.db").read_bytes() == before
    expect(call(capfd, verb, tmp_path / "directory", tmp_path), verb, "directory", 3)


@pytest.mark.parametrize("verb", VERBS)
def test_newer_schema(verb: str, tmp_path: Path, journal: Path, capfd: Capture) -> None:
    """JRN-10b: it names both editions, and does not touch the store."""
    newer = tmp_path / "newer"
    shutil.copytree(journal, newer)
    connection = apsw.Connection(str(newer / "journal.db"))
    connection.execute("UPDATE meta SET value = 3 WHERE key = 'schema'")
    connection.wal_checkpoint(None, apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    before = (newer / "journal.db").read_bytes()
    done = call(capfd, verb, newer, tmp_path)
    expect(done, verb, "schema_newer", 2)
    message = json.loads(done.out.splitlines()[-1])["error"]["message"]
    assert "schema 3" in message
    assert "schema 2" in message
    assert (newer / "journal.db").read_bytes() == before


@pytest.mark.parametrize("verb", VERBS)
def test_damaged_store(verb: str, tmp_path: Path, journal: Path, capfd: Capture) -> None:
    """A store whose own tables cannot be read is an error that says so, whoever looks."""
    damaged = tmp_path / "damaged"
    shutil.copytree(journal, damaged)
    whole = (damaged / "journal.db").read_bytes()
    (damaged / "journal.db").write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    done = call(capfd, verb, damaged, tmp_path)
    if verb == "migrate":
        assert done.data["migrated"] is False  # its schema can be read, and is the newest
    else:
        assert done.exit in {1, 2, 3}
        assert done.code in {"store", "not_a_journal", "chain_broken"}


MISTAKES = {
    "lane with a path": (("tail", "--lane", "session:../../etc"), "lane", 2),
    "lane of no kind": (("history", "--lane", "sesion:one"), "lane", 2),
    "lane that nobody wrote": (("tail", "--lane", "session:none"), "lane_not_found", 6),
    "lane that nobody wrote, exported": (("export", "--lane", "session:none"), "lane_not_found", 6),
    "lane that nobody wrote, verified": (("verify", "--lane", "session:none"), "lane_not_found", 2),
    "lane that nobody wrote, replayed": (("replay", "--lane", "session:none"), "lane_not_found", 2),
    "cursor that is none": (("tail", "--after", "yesterday"), "usage", 2),
    "cursor beyond the end": (("tail", "--lane", "session:strange", "--after", "6"), "cursor_ahead", 2),
    "history's cursor that is none": (("history", "--cursor", "more"), "foreign_cursor", 2),
    "time that is none": (("history", "--since", "yesterday"), "usage", 2),
    "limit out of range": (("history", "--limit", "501"), "usage", 2),
    "lines that are no number": (("tail", "-n", "many"), "usage", 2),
    "option that is none": (("stats", "--lane", "server"), "usage", 2),
    "two directories": (("stats", "--data", "elsewhere"), "usage", 2),
    "place without a lane": (("compact", "--to", "3"), "usage", 2),
    "key that is not there": (("export", "--key", "nowhere.pem"), "key_missing", 3),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, tmp_path: Path, journal: Path, capfd: Capture) -> None:
    (verb, *options), code, exit_ = MISTAKES[name]
    before = files(journal)
    done = call(capfd, verb, journal, tmp_path, *options)
    assert (done.code, done.exit) == (code, exit_)
    assert files(journal) == before


@pytest.mark.parametrize(
    "given",
    [
        ["jornal"],
        ["journal", "tale"],
        ["journal", "stats", "a", "b"],
        ["--verbose"],
        ["journal", "stats", "not-utf-8-\udcff"],
        ["journal", "history", "--principal", "\udcff"],
    ],
)
def test_words_that_are_none(given: list[str], capfd: Capture) -> None:
    done = here(capfd, *given, "--json")
    assert (done.code, done.exit) == ("usage", 2)
    done = here(capfd, *given)
    assert done.exit == 2
    assert done.out == ""
    assert done.err.startswith("web4: ")


def test_cursor_of_another_journal(tmp_path: Path, journal: Path, capfd: Capture) -> None:
    """JRN-6c, for both kinds of cursors; and of another lane, or another query."""
    other = journals.make(tmp_path / "other")
    cursor = json.loads(here(capfd, "journal", "tail", other, "--json").out.splitlines()[-1])["data"][
        "cursor"
    ]
    page = here(capfd, "journal", "history", other, "--limit", 1, "--json").data["cursor"]
    for options in (["tail", "--after", cursor], ["history", "--limit", "1", "--cursor", page]):
        done = here(capfd, "journal", options[0], journal, *options[1:], "--json")
        assert (done.code, done.exit) == ("foreign_cursor", 2)
    done = here(capfd, "journal", "tail", other, "--lane", "server", "--after", cursor, "--json")
    assert done.code == "foreign_cursor"
    done = here(capfd, "journal", "history", other, "--desc", "--cursor", page, "--json")
    assert done.code == "foreign_cursor"


def test_target_is_there(tmp_path: Path, journal: Path, capfd: Capture) -> None:
    """What is there is left alone; and what cannot be written leaves nothing."""
    (tmp_path / "there").write_text("mine")
    for verb in sorted(TWO):
        done = here(capfd, "journal", verb, journal, tmp_path / "there", "--json")
        assert (done.code, done.exit) == ("target_exists", 7)
        done = here(capfd, "journal", verb, journal, tmp_path / "no" / "where", "--json")
        assert (done.code, done.exit) == ("unwritable", 3)
    assert files(tmp_path) == {"there": b"mine"}


def test_bundles_are_no_journals(tmp_path: Path, journal: Path, capfd: Capture) -> None:
    bundle = tmp_path / "bundle"
    assert here(capfd, "journal", "export", journal, bundle).exit == 0
    for verb in ("tail", "history", "stats", "compact", "repair", "migrate"):
        done = here(capfd, "journal", verb, bundle, "--json")
        assert (done.code, done.exit) == ("not_for_bundles", 2)


def test_internal_error(
    tmp_path: Path, journal: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UX-4: what nobody expected has a code and a report, in which nothing is quoted."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("web4.cli.journal.stats.all_lanes", None)
    done = here(capfd, "journal", "stats", journal, "--json")
    assert (done.code, done.exit) == ("internal", 70)
    [report] = tmp_path.glob("web4-report-*.txt")
    assert json.loads(done.out)["error"]["context"]["report"] == str(report)
    text = report.read_text()
    assert "TypeError" in text
    assert "stats.py" in text
    assert "not callable" not in text


ROOT = os.geteuid() == 0


@pytest.mark.skipif(ROOT and not shutil.which("setpriv"), reason="to take root's rights away takes setpriv")
def test_no_permission(tmp_path: Path, journal: Path) -> None:
    """A directory that may not be entered, a store and a key not to be read, a directory not to be written."""
    for name in ("closed", "store", "key", "fixed"):
        shutil.copytree(journal, tmp_path / name)
    for name, mode in (
        ("closed", 0o000),
        ("store/journal.db", 0o000),
        ("key/hash.key", 0o000),
        ("fixed", 0o500),
    ):
        (tmp_path / name).chmod(mode)
    words = " & ".join(
        f"{sys.executable} -m web4.cli journal {verb} {tmp_path / name} --json"
        for verb, name in (("stats", "closed"), ("stats", "store"), ("stats", "key"), ("compact", "fixed"))
    )
    # One shell starts all four. Without capabilities root is a user like any other.
    script = f"{words} & wait"
    done = subprocess.run(
        [*(("setpriv", "--bounding-set=-all", "--inh-caps=-all") if ROOT else ()), "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (tmp_path / "closed").chmod(0o700)
    codes = sorted(json.loads(line)["error"]["code"] for line in done.stdout.splitlines())
    assert codes == ["directory", "os", "read_only_directory", "read_only_directory"]
    assert "Traceback" not in done.stderr
