"""Completion scripts: what is printed is what shells take, and completes (UX-2)."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import ENVIRONMENT, here, process
from tests.cli.nodes import fine
from tests.cli.terminal import on_terminal
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

COMPLETED: list[tuple[str, set[str]]] = [
    ("tr", {"trust"}),
    ("trust w", {"why"}),
    ("id rot", {"rotate"}),
    ("id rotate --re", {"--reason"}),
    ("journal ver", {"verify"}),
    ("mesh topology --format ", {"table", "json", "dot"}),
    ("completion ", set(SHELLS)),
]
"""What somebody has typed behind `web4`, and what may come there."""
TYPED = (
    ("web4 tr\tw\t", "web4 trust why"),
    ("web4 id rot\t--re\t", "web4 id rotate --reason"),
    ("web4 journal ver\t", "web4 journal verify"),
    ("web4 mesh topo\t--format d\t", "web4 mesh topology --format dot"),
)
"""Keys that are pressed, and the line that comes of them."""


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


@pytest.mark.parametrize(("typed", "offered"), [*COMPLETED, ("trust nonsense", {""})])
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


def there_is(shell: str) -> str:
    """Where a shell is; a test that needs one that is not there is skipped, and says so."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    return program


@pytest.mark.parametrize(("typed", "offered"), COMPLETED)
def test_fish_completes(typed: str, offered: set[str], scripts: dict[str, Path]) -> None:
    """A real fish, asked for what it offers behind a line."""
    asked = 'source "$argv[1]"; complete --do-complete "web4 $argv[2]"'
    done = subprocess.run(
        [there_is("fish"), "--no-config", "-c", asked, str(scripts["fish"]), typed],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT | {"TERM": "dumb"},
    )
    words = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert words == offered
    assert done.stderr == ""


@pytest.mark.parametrize("found", ["sourced", "in the fpath"])
def test_zsh_completes(found: str, scripts: dict[str, Path], tmp_path: Path) -> None:
    """A real zsh on a terminal, with the Tab key; the script read by it in both ways that the help names."""
    program = there_is("zsh")
    (tmp_path / "_web4").write_text(scripts["zsh"].read_text())
    begin = f"fpath=({tmp_path} $fpath); autoload -Uz compinit && compinit -u -D"
    if found == "sourced":
        begin = f"autoload -Uz compinit && compinit -u -D && source {scripts['zsh']}"
    with on_terminal(command=(program, "-f", "-i")) as zsh:
        zsh.type(f"{begin}; print -r -- ready$((1 + 1))\n")
        zsh.see("ready2")
        for number, (typed, whole) in enumerate(TYPED):
            # Home, and the line is printed instead of run: with its number in it, which the echo does not have.
            zsh.type(f"{typed}\x01print -r -- $(({number}+100)): \n")
            zsh.see(f"{number + 100}: {whole}")
        zsh.type("web4 completion \t\t")
        for shell in sorted(SHELLS):
            zsh.see(shell)


def test_completion_for_programs(capfd: Capture, scripts: dict[str, Path]) -> None:
    """UX-3, UX-4: JSON has the same script; a shell that is none of them is named with those that are."""
    answer = here(capfd, "completion", "bash", "--json").data
    assert answer == {"shell": "bash", "script": scripts["bash"].read_text()}
    wrong = here(capfd, "completion", "tcsh", "--json")
    assert (wrong.code, wrong.exit) == ("usage", 2)
    assert "fish" in wrong.out
