"""Completion scripts: what is printed is what shells take, and completes (UX-2)."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import here, process
from tests.cli.nodes import fine
from web4.cli.app import EXTENSIONS, GROUPS, JOURNAL, NODE

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
SHELLS = ("bash", "zsh", "fish")
VERBS = {"journal": JOURNAL, "ext": EXTENSIONS} | {name: verbs for name, (_, verbs) in GROUPS.items()}
COMPLETE = """\
source "$1"
COMP_LINE="web4 $2"
read -ra COMP_WORDS <<< "$COMP_LINE"
[[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$(complete -p web4 | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash does when somebody who has typed `web4 $2` asks for more."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the verb prints, in files."""
    place = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (place / shell).write_text(fine(process("completion", shell)).out)
    return {shell: place / shell for shell in SHELLS}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_is_completed(shell: str, scripts: dict[str, Path]) -> None:
    """UX-2: each script has each verb of each group, and the options that all verbs take."""
    text = scripts[shell].read_text()
    for name in (
        *VERBS,
        *NODE,
        "version",
        "doctor",
        "demo",
        "completion",
        *(verb for verbs in VERBS.values() for verb in verbs),
    ):
        assert name in text.replace("'", " ").replace(":", " ").split(), name
    for option in ("json", "quiet", "data", "help"):
        assert f"--{option}" in text or f"-l {option}" in text


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_takes_it(shell: str, scripts: dict[str, Path]) -> None:
    """The shell's own parser finds nothing wrong with it. bash is always there."""
    program = shutil.which(shell)
    if program is None:
        assert shell != "bash"
        pytest.skip(f"there is no {shell} here")
    checked = subprocess.run([program, "-n", scripts[shell]], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tr", {"trust"}),
        ("trust w", {"why"}),
        ("id rot", {"rotate"}),
        ("id rotate --re", {"--reason"}),
        ("journal ver", {"verify"}),
        ("mesh topology --format ", {"table", "json", "dot"}),
        ("completion ", set(SHELLS)),
        ("trust nonsense", {""}),
    ],
)
def test_bash_completes(typed: str, offered: set[str], scripts: dict[str, Path]) -> None:
    """A real bash, asked as it is by the Tab key."""
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", str(scripts["bash"]), typed],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split("\n")[:-1]) == offered
    assert done.stderr == ""


def test_completion_for_programs(capfd: Capture, scripts: dict[str, Path]) -> None:
    """UX-3, UX-4: JSON has the same script; a shell that is none of them is named with those that are."""
    answer = here(capfd, "completion", "bash", "--json").data
    assert answer == {"shell": "bash", "script": scripts["bash"].read_text()}
    wrong = here(capfd, "completion", "tcsh", "--json")
    assert (wrong.code, wrong.exit) == ("usage", 2)
    assert "fish" in wrong.out
