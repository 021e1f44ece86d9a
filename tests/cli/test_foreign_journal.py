"""A key that was exchanged by hand beside its journal: nobody opens such a directory (ID-4, decision 0027)."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.cli.command import here
from tests.cli.nodes import fine, start_again, up
from web4.foundation.identity import load_identity
from web4.node import Places

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
OPENING = (
    ("up",),
    ("status",),
    ("id", "show"),
    ("trust", "ls"),
    ("evidence", "export", "{out}"),
    ("id", "rotate", "--reason", "x", "--yes"),
)


def records(data: Path, capfd: Capture) -> str:
    """Everything that is in a journal: verbs about the journal alone look at whatever it is."""
    return fine(here(capfd, "journal", "history", "--limit", "500", "--data", data, "--json")).out


@pytest.mark.parametrize("ended", ["in order", "killed"])
def test_a_key_exchanged_by_hand(ended: str, tmp_path: Path, capfd: Capture) -> None:
    """ID-4: no verb runs it or looks into it under the other name; both are named, and what to do. Nothing is written.

    A node that was killed young is known by its journal, too: that is anchored behind its first commit.
    """
    with up(tmp_path / "ada") as ada:
        data = ada.data
        fine(here(capfd, "peer", "add", "carol", "5a" * 32, "--data", data))
        fine(here(capfd, "trust", "anchor", "carol", "--reason", "met", "--data", data))
        if ended == "killed":
            ada.process.send_signal(signal.SIGKILL)
        else:
            fine(here(capfd, "down", "--data", data))
        ada.process.wait(60)
    places = Places(data)
    old = places.key.read_bytes()
    places.key.unlink()
    fine(here(capfd, "id", "new", "--data", data))
    new = load_identity(places.key).fingerprint
    assert new != ada.fingerprint
    before = records(data, capfd)
    for words in OPENING:
        named = [one.replace("{out}", str(tmp_path / "out.warc")) for one in words]
        done = here(capfd, *named, "--data", data, "--json")
        assert (done.code, done.exit) == ("foreign_journal", 7), words
        error = json.loads(done.out.splitlines()[-1])["error"]
        assert f"written by {ada.fingerprint}" in error["message"]
        assert f"is of {new}" in error["message"]
        assert "identity/node.pem" in error["hint"]
    assert records(data, capfd) == before
    assert not places.retired.exists()

    places.key.write_bytes(old)
    with start_again(data) as again:
        assert again.fingerprint == ada.fingerprint
        row = fine(here(capfd, "trust", "show", "carol", "--data", data, "--json")).data
        assert row["state"] == "trusted"


def test_the_way_out_that_is_told(tmp_path: Path, capfd: Capture) -> None:
    """The key is lost: with the journal elsewhere another identity begins with nothing, as a rotation has it."""
    with up(tmp_path / "ada") as ada:
        fine(here(capfd, "consent", "limit", "grace", "garden", "--new", "--data", ada.data))
    places = Places(ada.data)
    places.key.unlink()
    fine(here(capfd, "init", "--data", ada.data))
    refused = here(capfd, "up", "--data", ada.data, "--json")
    assert (refused.code, refused.exit) == ("foreign_journal", 7)
    places.journal.rename(tmp_path / "old journal")
    with start_again(ada.data) as again:
        assert again.fingerprint != ada.fingerprint
        assert fine(here(capfd, "consent", "ls", "--data", ada.data, "--json")).data["humans"] == []
