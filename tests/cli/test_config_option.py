"""`--config FILE`: which web4.toml is read, by which verbs, and what is said of one that is not there (UX-2, UX-36)."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import here, start
from tests.cli.nodes import PATIENCE, fine, made

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node at rest, and a directory to be in."""
    monkeypatch.delenv("WEB4_CONFIG", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made(tmp_path / "ada")
    return tmp_path / "ada"


def called(path: Path, name: str) -> Path:
    path.write_text(f'[node]\nname = "{name}"\n[rtt]\nlisten = ["tcp://127.0.0.1:0"]\n')
    return path


def names(capfd: Capture, data: Path, *more: object) -> set[str]:
    """What the node is called, by each verb that reads it from the configuration while no node runs."""
    verbs = (("status",), ("id", "show"), ("id", "export"))
    answers = [fine(here(capfd, *verb, "--data", data, "--json", *more)).data for verb in verbs]
    return {answer.get("peer", answer)["name"] for answer in answers}


def test_the_first_that_is_there_is_read(
    ada: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UX-36: `--config`, `$WEB4_CONFIG`, `./web4.toml`, that of the data directory, in this order."""
    assert names(capfd, ada) == {"ada"}
    called(tmp_path / "here" / "web4.toml", "present")
    assert names(capfd, ada) == {"present"}
    monkeypatch.setenv("WEB4_CONFIG", str(called(tmp_path / "told.toml", "told")))
    assert names(capfd, ada) == {"told"}
    assert names(capfd, ada, "--config", called(tmp_path / "named.toml", "named")) == {"named"}


def test_a_node_runs_by_it(ada: Path, tmp_path: Path, capfd: Capture) -> None:
    """`up` is set up by the file that is named, says which it was, and what it is while it runs is told without it."""
    file = called(tmp_path / "other.toml", "other")
    running = start("up", "--data", ada, "--config", file, "--json")
    try:
        assert running.stdout is not None
        greeting: dict[str, Any] = json.loads(running.stdout.readline())
        assert greeting["type"] == "up", greeting
        assert greeting["name"] == "other"
        assert greeting["config"] == str(file)
        assert names(capfd, ada) == {"other"}
    finally:
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
    assert f"set up by {file}" in err


@pytest.mark.parametrize(
    "verb", [("up",), ("status",), ("id", "export"), ("trust", "ls"), ("ext", "ls")], ids=" ".join
)
def test_a_configuration_that_is_none(
    ada: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    """UX-4: one that was named and is not there is an error, however it was named, and so is one that does not fit."""
    words = (*verb, "--data", ada, "--json")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[extensions]\nceiling = "x"\n' if verb[0] == "ext" else "[node]\nnmae = 1\n")
    for file, said in ((tmp_path / "gone.toml", "gone.toml is not there"), (wrong, "wrong.toml")):
        by_option = here(capfd, *words, "--config", file)
        monkeypatch.setenv("WEB4_CONFIG", str(file))
        by_environment = here(capfd, *words)
        monkeypatch.delenv("WEB4_CONFIG")
        for done in (by_option, by_environment):
            assert done.exit == 2
            assert done.code.startswith("configuration")
            assert said in done.out
    assert not (ada / "journal").exists()
