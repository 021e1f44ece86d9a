"""The programs of the guide on services and introductions run as they stand."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.test_guides import GUIDES, run_as_shown
from web4.mesh.registry.errors import PeersFileError
from web4.mesh.registry.peers_file import peers_of
from web4.node.config import config_of

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = "services-and-introductions.md"


def test_docs_examples_run_services(tmp_path: Path) -> None:
    """GRAPH-4: what the page shows is what the program prints."""
    printed, shown = run_as_shown(GUIDE, "adding.py", tmp_path)
    assert printed == shown[0]


def test_docs_examples_run_introductions(tmp_path: Path) -> None:
    """MESH-10, MESH-11."""
    printed, shown = run_as_shown(GUIDE, "introducing.py", tmp_path)
    assert printed == shown[1]


def test_docs_peers_file_of_the_guide(tmp_path: Path) -> None:
    """It is a peers file once the fingerprint is one; and what stands there of `web4.toml` is a configuration."""
    configured, example = re.findall(r"```toml\n(.*?)```", (GUIDES / GUIDE).read_text(), flags=re.DOTALL)
    with pytest.raises(PeersFileError):
        peers_of(example, tmp_path)
    peers = peers_of(example.replace("64 hex digits", "a" * 64), tmp_path)
    assert [one.name for one in peers] == ["ben"]
    mesh = config_of(tomllib.loads(configured)).mesh
    assert (mesh.introduced, mesh.allow) == ("public", ("10.0.0.0/8",))
