"""The commands of `docs/guides/running-a-node.md` run as they stand, in their order."""

from __future__ import annotations

import re
import shlex
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.command import here
from tests.cli.nodes import UpNode, up
from web4.cli.app import GROUPS, NODE
from web4.node.config import read_config

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guides" / "running-a-node.md").read_text()
REFERENCE = (DOCS / "reference" / "cli.md").read_text()


def commands() -> list[list[str]]:
    """What the guide shows after a `$`, in its order."""
    blocks = re.findall(r"```console\n(.*?)```", GUIDE, flags=re.DOTALL)
    return [shlex.split(line.removeprefix("$ ")) for block in blocks for line in block.splitlines()]


def test_docs_examples_run_running_a_node(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes are made, run, introduced, asked, and stopped."""
    monkeypatch.chdir(tmp_path)
    nodes: dict[str, UpNode] = {}
    listening = []
    with ExitStack() as stack:
        for words in commands():
            assert words[0] == "web4"
            if words[1] == "init":
                assert here(capfd, *words[1:]).exit == 0
                listening.append(read_config(tmp_path / words[3] / "web4.toml").rtt.listen)
                continue
            if words[1] == "up":  # that of the tests listens where the system chooses
                nodes[words[3]] = stack.enter_context(up(tmp_path / words[3]))
                continue
            names = {"ADA": nodes["ada"].fingerprint, "BOB": nodes["bob"].fingerprint}
            names["BOB_ADDRESS"] = nodes["bob"].address
            done = here(capfd, *[names.get(one, one) for one in words[1:]])
            assert done.exit == 0, (words, done)
            assert done.out
    assert len(set(listening)) == 2, "two nodes on one machine listen at two places"
    last = here(capfd, "status", "--data", "ada", "--json").data
    assert (last["running"], last["peers"]) == (False, {"trusted": 1})


@pytest.mark.parametrize("group", GROUPS)
def test_docs_reference_has_every_verb_and_option(group: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What the help says, the reference has."""
    section = REFERENCE.partition(f"## `web4 {group}`")[2].partition("\n## ")[0]
    for verb in GROUPS[group][1]:
        assert f"`web4 {group} {verb}" in section, verb
        out = here(capfd, group, verb, "--help").out
        options = set(re.findall(r"(?<![\w-])--[a-z]+", out.partition("╭")[2]))
        common = {"--json", "--quiet", "--data", "--config"}
        assert not {one for one in options - common if one not in section}, verb


def test_docs_reference_has_the_verbs_of_a_node() -> None:
    for verb in NODE:
        assert f"`web4 {verb}" in REFERENCE
