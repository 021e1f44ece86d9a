"""The commands and files of `docs/guides/writing-an-extension.md` do what it says, in its order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.command import here
from web4.cli.app import EXTENSIONS
from web4.extensions.outcome import CODES

if TYPE_CHECKING:
    import pytest

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guides" / "writing-an-extension.md").read_text()
REFERENCE = (DOCS / "reference" / "cli.md").read_text()
PARTS = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```|```console\n(.*?)```", flags=re.DOTALL)


def run(shown: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run what stands behind a `$`; where lines stand behind it, they are what it prints."""
    for piece in re.findall(r"^\$ (.*\n(?:[^$].*\n)*)", shown, flags=re.MULTILINE):
        line, _, printed = piece.partition("\n")
        line, _, exit_ = line.partition(" # exit ")
        done = here(capfd, *shlex.split(line)[1:])
        assert done.exit == int(exit_ or 0), (line, done)
        if printed:
            assert done.out == printed, line


def test_docs_examples_run_writing_an_extension(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From `new` to a test that passes; every command as it stands, every output as it is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEB4_HOME", str(tmp_path / "node"))
    monkeypatch.delenv("WEB4_CONFIG", raising=False)
    directory = tmp_path / ".web4" / "extensions" / "notes"
    kinds = []
    for file, text, shown in PARTS.findall(GUIDE):
        kinds.append(file)
        if file:
            (directory / file).write_text(text)
        else:
            run(shown, capfd)
    assert [one for one in kinds if one] == ["notes.py", "notes.txt", "test_notes.py"]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(directory)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    # The test leaves nothing that would have to be enabled anew, but for itself.
    assert sorted(one.name for one in directory.iterdir() if one.name != "__pycache__") == [
        "notes.py",
        "notes.txt",
        "pytest.ini",
        "test_notes.py",
        "web4-extension.toml",
    ]


def test_new_extension_passes_its_own_test(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What `new` writes is whole: its test runs it in a real worker."""
    assert here(capfd, "ext", "new", "acme.notes", tmp_path / "notes").exit == 0
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path / "notes")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_docs_writing_an_extension_names_every_code() -> None:
    """The table of codes has all there are; and what it names is one."""
    table = GUIDE.partition("## When it goes wrong")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(extension_[a-z_]+|worker_lost)`", table))
    named |= {f"extension_{one}_exceeded" for one in re.findall(r"`_([a-z]+)_`", table)}
    assert named == CODES


def test_docs_reference_lists_every_verb_and_option_of_extensions(capfd: pytest.CaptureFixture[str]) -> None:
    """What the help says, the reference has; of the doctor, too."""
    for verb in (*EXTENSIONS, "doctor"):
        words = ("doctor",) if verb == "doctor" else ("ext", verb)
        section = (
            REFERENCE.partition("## `web4 ext`")[2]
            .partition(f"`web4 {' '.join(words)}")[2]
            .partition("\n##")[0]
        )
        told = set(re.findall(r"(?<![\w-])--[a-z-]+", here(capfd, *words, "--help").out.partition("╭")[2]))
        missing = {one for one in told - {"--json", "--quiet", "--data", "--config"} if one not in section}
        assert not missing, (verb, missing)
