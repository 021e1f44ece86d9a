"""`web4 ext ls`, `show`, `enable`, `disable`, `reset`, `new`: what a human is shown and decides (EXT-6 to EXT-8)."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.cli import journals
from tests.cli.command import Done, files, here
from tests.cli.extensions import change_manifest, scaffold
from tests.cli.terminal import on_terminal
from web4.cli.app import EXTENSIONS
from web4.cli.extensions.places import WHERE, surroundings
from web4.cli.extensions.writing import writing_enabling
from web4.cli.options import Common
from web4.extensions.quarantine import BreakerState, Change

if TYPE_CHECKING:
    from collections.abc import Iterator

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a user stands, with a data directory of its own and nobody's configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEB4_HOME", str(tmp_path / "node"))
    monkeypatch.delenv("WEB4_CONFIG", raising=False)
    return tmp_path


def ext(capfd: Capture, *arguments: object) -> Done:
    """Call a verb with JSON."""
    done = here(capfd, "ext", *arguments, "--json")
    assert "Traceback" not in done.err
    return done


def listed(capfd: Capture) -> dict[str, Any]:
    return {one["name"]: one for one in ext(capfd, "ls").data["extensions"]}


# --- ls ---------------------------------------------------------------------------------------------------------


def test_nothing_is_found(project: Path, capfd: Capture) -> None:
    """Looking makes nothing: no data directory, no journal."""
    assert ext(capfd, "ls").data == {"extensions": []}
    assert "web4 ext new" in here(capfd, "ext", "ls").out
    assert not list(project.iterdir())


def test_states(project: Path, capfd: Capture) -> None:
    """EXT-6, EXT-7, EXT-42: each extension with its place, its version, how it stands, and why."""
    notes = scaffold(project)
    broken = scaffold(project, "broken")
    change_manifest(broken, version="one")
    (project / "node" / "extensions").mkdir(parents=True, mode=0o700)
    shutil.copytree(notes, project / "node" / "extensions" / "other")
    change_manifest(project / "node" / "extensions" / "other", name="other")
    told = listed(capfd)
    assert {name: one["state"] for name, one in told.items()} == {
        "notes": "not_enabled",
        "broken": "broken",
        "other": "not_enabled",
    }
    assert (told["other"]["place"], told["notes"]["place"]) == ("data", "project")
    assert told["notes"]["directory"] == str(notes)
    assert told["broken"]["why"]
    assert ext(capfd, "enable", "notes", "--yes").exit == 0
    assert listed(capfd)["notes"]["state"] == "enabled"
    (notes / "notes.py").write_text("changed = True\n")
    told = listed(capfd)
    assert told["notes"]["state"] == "changed"
    assert "notes.py" in told["notes"]["why"]
    shutil.rmtree(notes)
    assert listed(capfd)["notes"]["state"] == "gone"
    text = here(capfd, "ext", "ls").out
    assert re.search(r"^notes +0\.1\.0 +gone", text, flags=re.MULTILINE)
    assert re.search(r"^broken: ", text, flags=re.MULTILINE)


def test_same_name_twice(project: Path, capfd: Capture) -> None:
    """EXT-6: the same name in two places is an error that names both."""
    notes = scaffold(project)
    twin = project / "node" / "extensions" / "twin"
    shutil.copytree(notes, twin)
    told = ext(capfd, "ls").data["extensions"]
    assert [one["state"] for one in told] == ["broken", "broken"]
    for one in told:
        assert str(notes) in one["why"]
        assert str(twin) in one["why"]
    done = ext(capfd, "enable", "notes", "--yes")
    assert (done.code, done.exit) == ("name_twice", 7)


def test_ls_beside_a_running_node(project: Path, capfd: Capture) -> None:
    """Reading takes no lock: another process has the journal open for writing."""
    scaffold(project)
    assert ext(capfd, "enable", "notes", "--yes").exit == 0
    with locked(project / "node"):
        assert listed(capfd)["notes"]["state"] == "enabled"


@contextlib.contextmanager
def locked(data: Path) -> Iterator[None]:
    """Around: a node has the journal."""
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.journals", str(data / "journal"), "relaxed"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert node.stdout is not None
        assert node.stdout.readline() == "writing\n"
        yield
    finally:
        node.kill()
        node.communicate()


# --- show -------------------------------------------------------------------------------------------------------


def test_show(project: Path, capfd: Capture) -> None:
    """EXT-7, EXT-32: what it says, what it asks for, what it would be given here, measured, without being run."""
    notes = scaffold(project)
    (notes / "notes.py").write_text(f"open({str(project / 'ran')!r}, 'w')\n")
    change_manifest(notes, environment=["LANG"])
    data = ext(capfd, "show", "notes").data
    assert data["state"] == "not_enabled"
    assert data["manifest"]["tools"][0]["name"] == "greet"
    assert data["asks"]["environment"] == ["LANG"]
    assert data["protections"]["level"] == "standard"
    assert len(data["found_digest"]) == 64
    assert ext(capfd, "enable", "notes", "--digest", data["found_digest"]).exit == 0
    (notes / "more.py").touch()
    change_manifest(notes, environment=[], ui=True)
    data = ext(capfd, "show", "notes").data
    assert data["state"] == "changed"
    assert data["files"]["added"] == ["more.py"]
    assert {one["key"] for one in data["asked"]} == {"environment", "ui"}
    text = here(capfd, "ext", "show", "notes").out
    for words in ("added: more.py", "+ ui: yes", "- environment: LANG", "greet", "files (Landlock)"):
        assert words in text
    assert not (project / "ran").exists()


def test_show_of_what_cannot_run(project: Path, capfd: Capture) -> None:
    """A broken manifest, one that is gone, none at all; and a protection that is required and not there."""
    notes = scaffold(project)
    assert ext(capfd, "show", "other").code == "not_found"
    change_manifest(notes, version="1")
    data = ext(capfd, "show", "notes").data
    assert (data["state"], data["manifest"]) == ("broken", None)
    assert "broken" in here(capfd, "ext", "show", "notes").out


# --- enable -----------------------------------------------------------------------------------------------------


def test_enabling_pins_and_shows(project: Path, capfd: Capture) -> None:
    """EXT-7: it is shown what is asked for, and what has changed since; the digest is pinned; all in the journal."""
    notes = scaffold(project)
    first = ext(capfd, "enable", "notes", "--yes").data
    assert first["enabled"] is True
    assert (first["asks"]["level"], first["asks"]["network"], first["since"]) == ("standard", "deny", None)
    (notes / "notes.py").write_text((notes / "notes.py").read_text() + "\n# more\n")
    change_manifest(notes, sandbox={"read": ["/etc"]}, environment=["LANG"], ui=True)
    second = ext(capfd, "enable", "notes", "--yes").data
    assert second["digest"] != first["digest"]
    assert second["since"] == first["digest"]
    assert second["files"]["changed"] == ["notes.py"]
    assert second["files"]["added"] == ["web4-extension.json"]
    assert {one["key"] for one in second["asked"]} == {"read", "environment", "ui"}
    text = here(capfd, "ext", "enable", "notes", "--yes").out
    for shown in ("! read", "! environment", "! ui", "it may ask people questions", second["digest"]):
        assert shown in text
    tail = here(capfd, "journal", "tail", "--json").out.splitlines()
    types = [json.loads(line).get("record", {}).get("type") for line in tail]
    assert types[:2] == ["extension.enabled", "extension.enabled"]
    for verb in ("verify", "replay"):
        assert here(capfd, "journal", verb).exit == 0


def test_enabling_asks(project: Path, capfd: Capture) -> None:
    """On a terminal it shows what is asked for, then asks; only yes is yes, and a no changes nothing."""
    notes = scaffold(project)
    change_manifest(notes, sandbox={"level": "none", "network": "allow"})
    for typed, code, state in (
        ("\x04", 1, "not_enabled"),
        ("yes\n", 0, "enabled"),
    ):
        with on_terminal("ext", "enable", "notes", "--data", "node", cwd=project) as terminal:
            terminal.see("no sandbox")
            terminal.see("it reaches the network")
            terminal.see("Let notes run? [y/N]")
            terminal.type(typed)
            assert terminal.end() == code
        assert listed(capfd)["notes"]["state"] == state


def test_enabling_interrupted(project: Path, capfd: Capture) -> None:
    """Ctrl-C at the question ends it at once, changes nothing, and leaves no lock."""
    scaffold(project)
    with on_terminal("ext", "enable", "notes", "--data", "node", cwd=project) as terminal:
        terminal.see("[y/N]")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
    assert ext(capfd, "enable", "notes", "--yes").data["since"] is None


def test_enabling_what_changed_while_it_was_shown(project: Path, capfd: Capture) -> None:
    """EXT-7: what was shown is enabled, and nothing else."""
    notes = scaffold(project)
    with on_terminal("ext", "enable", "notes", "--data", "node", cwd=project) as terminal:
        terminal.see("[y/N]")
        (notes / "notes.py").write_text("import evil\n")
        terminal.type("y\n")
        terminal.see("changed since it was shown")
        assert terminal.end() == 7
    assert listed(capfd)["notes"]["state"] == "not_enabled"


def test_enabling_by_digest(project: Path, capfd: Capture) -> None:
    scaffold(project)
    digest = ext(capfd, "enable", "notes", "--yes").data["digest"]
    assert ext(capfd, "enable", "notes", "--digest", digest[:12].upper()).exit == 0
    done = ext(capfd, "enable", "notes", "--digest", "0" * 64)
    assert (done.code, done.exit) == ("digest_changed", 7)
    assert ext(capfd, "enable", "notes", "--digest", digest[:11]).code == "usage"


def test_nobody_can_be_asked(project: Path, capfd: Capture) -> None:
    scaffold(project)
    done = ext(capfd, "enable", "notes")
    assert (done.code, done.exit) == ("human_needed", 5)
    assert not (project / "node").exists()


def test_the_node_runs(project: Path, capfd: Capture) -> None:
    """Whoever would write says that the journal is taken, by whom, and what to do; nothing is changed."""
    scaffold(project)
    assert ext(capfd, "enable", "notes", "--yes").exit == 0
    with locked(project / "node"):
        for words in (["enable", "notes", "--yes"], ["disable", "notes"], ["reset", "notes"]):
            done = ext(capfd, *words)
            assert (done.code, done.exit) == ("journal_locked", 3)
            assert "stop that process first" in done.err
            assert "pid" in json.loads(done.out)["error"]["context"]["owner"]


def test_refusals(project: Path, capfd: Capture) -> None:
    """EXT-8, EXT-24, EXT-31: a name that is taken, more than the ceilings, a path of the node's own."""
    notes = scaffold(project)
    assert ext(capfd, "enable", "notes", "--yes").exit == 0
    other = scaffold(project, "other")
    done = ext(capfd, "enable", "other", "--yes")
    assert (done.code, done.exit) == ("name_clash", 7)
    assert "notes" in json.loads(done.out)["error"]["message"]
    change_manifest(notes, resources={"memory_mb": 100_000})
    done = ext(capfd, "enable", "notes", "--yes")
    assert (done.code, done.exit) == ("ceiling", 5)
    assert json.loads(done.out)["error"]["context"]["field"] == "resources.memory_mb"
    change_manifest(notes, resources=None, sandbox={"read": [str(project / "node" / "journal")]})
    done = ext(capfd, "enable", "notes", "--yes")
    assert (done.code, done.exit) == ("grant", 5)
    change_manifest(other, version="1")
    done = ext(capfd, "enable", "other", "--yes")
    assert (done.code, done.exit) == ("manifest", 2)
    assert "web4 ext check" in done.err


def test_names_that_are_none(project: Path, capfd: Capture) -> None:
    """What was perhaps meant is named."""
    scaffold(project)
    done = ext(capfd, "enable", "nots", "--yes")
    assert (done.code, done.exit) == ("not_found", 6)
    assert "'notes'" in json.loads(done.out)["error"]["message"]
    assert "journal's directory" not in done.err
    for words in (["disable", "notes"], ["reset", "notes"]):
        done = ext(capfd, *words)
        assert (done.code, done.exit) == ("not_enabled", 5)


def test_configuration(project: Path, capfd: Capture) -> None:
    """UX-36: the file that is named, or found; a key that is none is named with its line."""
    elsewhere = scaffold(project / "elsewhere")
    (project / "web4.toml").write_text(f"[extensions]\npaths = [{str(elsewhere)!r}]\n")
    assert listed(capfd)["notes"]["place"] == "configured"
    (project / "bad.toml").write_text("[extensions]\n\npath = []\n")
    done = ext(capfd, "ls", "--config", "bad.toml")
    assert done.exit == 2
    assert "line 3" in json.loads(done.out)["error"]["message"]
    assert ext(capfd, "ls", "--config", "none.toml").exit == 2
    assert listed(capfd)["notes"]["state"] == "not_enabled"


# --- disable and reset ------------------------------------------------------------------------------------------


def test_disable(project: Path, capfd: Capture) -> None:
    scaffold(project)
    assert ext(capfd, "enable", "notes", "--yes").exit == 0
    assert ext(capfd, "disable", "notes", "--reason", "it is late").data == {
        "name": "notes",
        "enabled": False,
    }
    assert listed(capfd)["notes"]["state"] == "not_enabled"


@pytest.mark.scenario("extensions#9")
def test_reset(project: Path, capfd: Capture) -> None:
    """EXT-38: the quarantine is shown with its reason and its end; a human ends it, and the journal says who."""
    scaffold(project)
    assert ext(capfd, "enable", "notes", "--yes").exit == 0
    assert ext(capfd, "reset", "notes").data == {"name": "notes", "reset": False}

    async def quarantine() -> None:
        around = surroundings(Common(), WHERE)
        async with writing_enabling(around) as enabling:
            state = BreakerState(times=1, since=journals.BEGIN, code="extension_crashed")
            await enabling.breaker_changed("notes", Change("quarantined", state))

    trio.run(quarantine)
    told = listed(capfd)["notes"]
    assert told["state"] == "quarantined"
    assert "extension_crashed" in told["why"]
    assert "2023-11-14T22:13:50" in told["why"]
    assert ext(capfd, "reset", "notes").data == {"name": "notes", "reset": True}
    assert listed(capfd)["notes"]["state"] == "enabled"
    words = ("history", "--type", "extension.restored", "--json")
    [entry] = here(capfd, "journal", *words).data["entries"]
    assert entry["principal"] == "operator"


# --- new --------------------------------------------------------------------------------------------------------


def test_new(project: Path, capfd: Capture) -> None:
    """It is found at once, and enabled as it is."""
    data = ext(capfd, "new", "acme.notes").data
    assert data["directory"] == ".web4/extensions/acme.notes"
    assert set(data["files"]) == {one.name for one in Path(data["directory"]).iterdir()}
    assert ext(capfd, "enable", "acme.notes", "--yes").exit == 0
    assert ext(capfd, "new", "more", "more/here").data["directory"] == "more/here"
    assert "web4 ext check" in here(capfd, "ext", "new", "next").out


def test_new_is_refused(project: Path, capfd: Capture) -> None:
    """What is there is left alone, and a name that is none makes nothing."""
    (project / "there").write_text("mine")
    for name in ("Notes", "1notes", "../up", "", "a" * 65, "no tes", "notes\n"):
        assert ext(capfd, "new", name).code == "usage"
    done = ext(capfd, "new", "notes", "there")
    assert (done.code, done.exit) == ("target_exists", 7)
    (project / "link").symlink_to("nowhere")
    assert ext(capfd, "new", "notes", "link").code == "target_exists"
    assert ext(capfd, "new", "notes", "there/notes").exit == 3
    assert files(project) == {"there": b"mine"}


# --- all of them ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", sorted(EXTENSIONS))
def test_help_has_an_example(verb: str, capfd: Capture) -> None:
    """UX-2."""
    done = here(capfd, "ext", verb, "--help")
    assert done.exit == 0
    assert f"web4 ext {verb}" in done.out
    assert "--json" in done.out


def test_terminated_while_it_asks(project: Path) -> None:
    scaffold(project)
    with on_terminal("ext", "enable", "notes", "--data", "node", cwd=project) as terminal:
        terminal.see("[y/N]")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.end() == 143
