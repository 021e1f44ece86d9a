"""`web4 id rotate`: a new key is a new identity, and the old one is set aside whole (ID-4, decision 0027)."""

from __future__ import annotations

import errno
import json
import stat
import tomllib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.cli.command import here, process
from tests.cli.nodes import connected_to, fine, made, start_again, up
from tests.cli.terminal import on_terminal
from web4 import open_node
from web4.foundation.identity import load_identity
from web4.journal.backends.sqlite import open_sqlite
from web4.node import Places, make_directory
from web4.node.directory import open_directory
from web4.node.errors import DirectoryError
from web4.node.rotation import NOTE, RotationNote, rotate_identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
NOTED = RotationNote(reason="test", by="eva", at_ms=1)


def rotated(data: Path, *more: object) -> dict[str, Any]:
    """Rotate; what was said to programs."""
    done = fine(process("id", "rotate", "--reason", "stolen", "--yes", "--data", data, "--json", *more))
    answer: dict[str, Any] = done.data
    return answer


def test_rotate_is_a_new_identity(tmp_path: Path, capfd: Capture) -> None:
    """ID-4: while it runs nothing is done; then the peer that trusted the old key knows nothing of the new one, what
    was promised is not sent under it, and the old identity can be looked at where it was set aside."""
    with up(tmp_path / "bob") as bob:
        with up(tmp_path / "ada") as ada:
            fine(here(capfd, "peer", "add", "bob", bob.fingerprint, bob.address, "--data", ada.data))
            connected_to(ada, bob)
            for one, other in ((ada, bob), (bob, ada)):
                fine(
                    here(
                        capfd,
                        "trust",
                        "anchor",
                        other.fingerprint,
                        "--reason",
                        "met",
                        "--data",
                        one.data,
                        "--json",
                    )
                )
            refused = process("id", "rotate", "--reason", "stolen", "--yes", "--data", ada.data, "--json")
            assert (refused.code, refused.exit) == ("journal_locked", 3)
            assert load_identity(ada.data / "identity" / "node.pem").fingerprint == ada.fingerprint
            fine(here(capfd, "down", "--data", bob.data))
            fact = ("claim", "propose", "ice floats", "--domain", "physics")
            fine(here(capfd, *fact, "--data", ada.data, "--json"))
            fine(here(capfd, "down", "--data", ada.data))
        data = rotated(ada.data, "--as", "eva")
        assert (data["old"], data["rotated"], data["resumed"]) == (ada.fingerprint, True, False)
        assert data["not_sent"] == {bob.fingerprint: 1}
        assert data["new"] == data["peer"]["fingerprint"] != ada.fingerprint

    retired = Places(ada.data / "retired" / f"001-{ada.fingerprint[:16]}")
    assert data["retired"] == str(retired.data)
    for path, mode in ((retired.key, 0o600), (retired.data, 0o700), (retired.key.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert open_directory(retired).fingerprint == ada.fingerprint
    note = json.loads((retired.data / NOTE).read_text())
    assert (note["reason"], note["by"]) == ("stolen", "eva")
    assert (note["fingerprint"], note["successor"]) == (ada.fingerprint, data["new"])
    assert fine(here(capfd, "journal", "verify", retired.data)).exit == 0
    before = fine(here(capfd, "trust", "show", "bob", "--data", retired.data, "--json")).data
    assert before["state"] == "trusted"
    (claim,) = fine(here(capfd, "claim", "ls", "--data", retired.data, "--json")).data["claims"]
    assert claim["statement"] == "ice floats"

    # Its life begins anew: no trust, no claims; peers.toml is the operator's, and stays.
    assert fine(here(capfd, "trust", "ls", "--data", ada.data, "--json")).data["peers"] == []
    with start_again(bob.data) as bob, start_again(ada.data) as ada:
        assert ada.fingerprint == data["new"]
        fine(here(capfd, "peer", "rm", "bob", "--data", ada.data))
        fine(here(capfd, "peer", "add", "bob", bob.fingerprint, bob.address, "--data", ada.data))
        connected_to(ada, bob)
        states = {
            one["fingerprint"]: one["state"]
            for one in fine(here(capfd, "trust", "ls", "--data", bob.data, "--json")).data["peers"]
        }
        assert states == {data["old"]: "trusted", data["new"]: "probing"}
        assert fine(here(capfd, "claim", "ls", "--data", bob.data, "--json")).data["claims"] == []


def test_rotate_says_it_to_people(tmp_path: Path, capfd: Capture) -> None:
    """UX-4: both fingerprints, where the old one lies, and a `[[peer]]` that others can put into their peers.toml."""
    old = made(tmp_path / "ada")
    out = fine(here(capfd, "id", "rotate", "--reason", "yearly", "--yes", "--data", tmp_path / "ada")).out
    told, _, peer = out.partition("  [[peer]]\n")
    new = load_identity(tmp_path / "ada" / "identity" / "node.pem").fingerprint
    assert f'web4 trust block {old} --reason "rotated"' in told
    assert str(tmp_path / "ada" / "retired") in told
    assert (tomllib.loads(peer)["fingerprint"], tomllib.loads(peer)["name"]) == (new, "ada")
    exported = fine(here(capfd, "id", "export", "--data", tmp_path / "ada")).out
    assert [line.strip() for line in f"[[peer]]\n{peer}".splitlines()] == exported.splitlines()


def test_rotate_needs_a_person(tmp_path: Path, capfd: Capture) -> None:
    """Nothing is done without `--yes` where nobody can be asked, without a reason, or where there is no node."""
    old = made(tmp_path / "ada")
    where = ("--data", tmp_path / "ada", "--json")
    refused = process("id", "rotate", "--reason", "why not", *where, stdin=-3)
    assert (refused.code, refused.exit) == ("human_needed", 5)
    for words in (("--yes",), ("--yes", "--reason", " ")):
        wrong = here(capfd, "id", "rotate", *words, *where)
        assert (wrong.code, wrong.exit) == ("usage", 2)
    nobody = here(capfd, "id", "rotate", "--yes", "--reason", "x", "--data", tmp_path / "eve", "--json")
    assert (nobody.code, nobody.exit) == ("no_node", 6)
    assert not (tmp_path / "eve").exists()
    with on_terminal("id", "rotate", "--reason", "x", "--data", tmp_path / "ada") as terminal:
        terminal.see("new identity? [y/N]")
        terminal.type("n\n")
        assert terminal.end() == 1
        assert "nothing was changed" in terminal.shown
    assert open_directory(Places(tmp_path / "ada")).fingerprint == old
    assert not (tmp_path / "ada" / "retired").exists()
    with on_terminal("id", "rotate", "--reason", "x", "--data", tmp_path / "ada") as terminal:
        terminal.see("new identity? [y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
    assert open_directory(Places(tmp_path / "ada")).fingerprint != old


class Killed(BaseException):
    """As a process that ends."""


@pytest.mark.parametrize("step", range(3))
def test_rotate_goes_on_where_it_was_ended(
    tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Ended before each of its renames: before the first it is the old node, behind it nobody until it is called again;
    never a key with another's journal."""
    places = Places(tmp_path / "ada")
    old = make_directory(places).identity.fingerprint
    places.journal.mkdir(mode=0o700)
    (places.journal / "of the old one").touch()
    left = [step]
    path = type(places.key)
    rename = path.rename

    def dying(self: Path, target: Path) -> Path:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(path, "rename", dying)
        with pytest.raises(Killed):
            rotate_identity(places, NOTED)
    if step == 0:
        assert open_directory(places).fingerprint == old
    else:
        for words in (["up"], ["init"], ["id", "new"], ["status"]):
            refused = here(capfd, *words, "--data", places.data, "--json")
            assert (refused.code, refused.exit) == ("rotation_unfinished", 7), words
    done = fine(
        here(capfd, "id", "rotate", "--reason", "again", "--yes", "--data", places.data, "--json")
    ).data
    assert (done["old"], done["resumed"]) == (old, step > 0)
    assert open_directory(places).fingerprint == done["new"]
    (kept,) = [Places(one) for one in places.retired.iterdir()]
    assert open_directory(kept).fingerprint == old
    assert (kept.journal / "of the old one").exists()
    assert not places.journal.exists()
    assert not places.next_key.exists()


def test_rotate_puts_back_what_cannot_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory can be made, or the journal is on another disk: the node is as it was, and nothing is left over."""
    places = Places(tmp_path / "ada")
    old = make_directory(places).identity.fingerprint
    places.journal.mkdir(mode=0o700)
    elsewhere = places.data / "retired"
    elsewhere.touch()
    with pytest.raises(OSError, match="retired"):
        rotate_identity(places, NOTED)
    elsewhere.unlink()
    assert open_directory(places).fingerprint == old
    rename = type(places.key).rename

    def stuck(self: Path, target: Path) -> Path:
        if self == places.journal:
            raise OSError(errno.EXDEV, "on another disk")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(places.key), "rename", stuck)
        with pytest.raises(OSError, match="another disk"):
            rotate_identity(places, NOTED)
    assert open_directory(places).fingerprint == old
    assert not places.next_key.exists()
    assert list(places.retired.iterdir()) == []
    again = rotate_identity(places, NOTED)
    assert (again.old.fingerprint, again.resumed) == (old, False)
    assert [one.name for one in places.retired.iterdir()] == [f"001-{old[:16]}"]


async def test_a_node_that_starts_meanwhile_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has read the old key, and the key is rotated before it opens the journal: it does not begin a second life."""
    places = Places(tmp_path / "ada")
    make_directory(places)

    @asynccontextmanager
    async def late(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
        await trio.to_thread.run_sync(rotate_identity, places, NOTED)
        async with open_sqlite(*arguments, **options) as backend:
            yield backend

    monkeypatch.setattr("web4.node.journals.open_sqlite", late)
    with pytest.raises(DirectoryError) as caught:
        async with open_node(places.data):
            pass
    assert caught.value.code == "identity_changed"
