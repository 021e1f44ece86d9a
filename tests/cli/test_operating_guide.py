"""The commands and the program of `docs/guides/operating-a-journal.md` run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import journals
from tests.cli.command import here
from web4.cli.app import JOURNAL
from web4.foundation.identity import save_identity

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
GUIDE = (GUIDES / "operating-a-journal.md").read_text()
REFERENCE = (GUIDES.parent / "reference" / "cli.md").read_text()


def commands() -> list[list[str]]:
    """What the guide shows after a `$`, in its order."""
    blocks = re.findall(r"```console\n(.*?)```", GUIDE, flags=re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines()]


def test_docs_examples_run_operating_a_journal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From looking to migrating, on one journal; then the program that applies a policy."""
    journals.make(tmp_path / "node" / "journal", snapshot=True)
    save_identity(journals.NODE, tmp_path / "keys" / "node.pem")
    (tmp_path / "backups").mkdir()
    monkeypatch.chdir(tmp_path)
    shown = commands()
    assert {words[2] for words in shown if words[0] == "web4"} == set(JOURNAL)
    for words in shown:
        if words[0] == "web4":
            done = here(capfd, *words[1:])
            assert done.exit == 0, (words, done)
            assert done.out
        else:
            assert words[0] in {"mv", "cp"}
            subprocess.run(words, check=True)
    shutil.rmtree("node")
    journals.make(tmp_path / "node" / "journal")
    [program] = re.findall(r"<!-- file: retain.py -->\n```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "5 records removed, 0 payloads erased; kept: hold case 7\n"
    assert here(capfd, "journal", "verify", "node").exit == 0


def test_docs_reference_lists_every_verb_and_option(capfd: pytest.CaptureFixture[str]) -> None:
    """What the help says, the reference has."""
    for verb in JOURNAL:
        section = REFERENCE.partition(f"### `{verb}`")[2].partition("\n### ")[0]
        told = set(
            re.findall(r"(?<![\w-])--[a-z]+", here(capfd, "journal", verb, "--help").out.partition("╭")[2])
        )
        missing = {one for one in told - {"--json", "--quiet", "--data", "--config"} if one not in section}
        assert not missing, (verb, missing)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", REFERENCE))
def test_docs_links_of_the_reference_lead_somewhere(target: str) -> None:
    assert (GUIDES.parent / "reference" / target).exists()
