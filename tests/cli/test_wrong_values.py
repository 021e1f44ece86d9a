"""What was wrong, with the value, and what to do (UX-4); and what a wrong value must not lead to."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from tests.cli.command import here, process
from tests.cli.nodes import UpNode, fine, made, up
from web4.cli.node.up import _row
from web4.foundation.events import Event
from web4.mesh.registry.peers_file import read_peers
from web4.node.config import read_config
from web4.protocols.knowledge.ledger.claims import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

Capture = pytest.CaptureFixture[str]
OTHER = "5a" * 32
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
MACHINE = re.compile(r"Expected `|regex|\$\[|Errno|Traceback")
"""What only a programmer reads."""


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpNode]:
    """A node that runs, and names a peer."""
    with up(tmp_path_factory.mktemp("nodes") / "ada") as node:
        fine(process("peer", "add", "bob", "b0" * 32, "--data", node.data))
        yield node


WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "short fingerprint": (("peer", "add", "carol", "12"), 2, "64 hex digits, a-f in lowercase, and is '12'"),
    "name with a space": (("peer", "add", "c d", OTHER), 2, "0-9, `.`, `_` and `-`, and is 'c d'"),
    "no name": (("peer", "add", "", OTHER), 2, "name must be up to 64 of a-z"),
    "human of a peer": (("peer", "add", "carol", OTHER, "--human", "C D"), 2, "human must be up to 63"),
    "address": (("peer", "add", "carol", OTHER, "http://c:1"), 2, "'http://c:1': no transport is called"),
    "empty statement": (("claim", "propose", "", "--domain", "d"), 2, "statement must be text that is not"),
    "long domain": (
        ("claim", "propose", "x", "--domain", "d" * 300),
        2,
        "of 1 to 256 characters, and is 'ddd",
    ),
    "empty word of a human": (("claim", "confirm", "00000000", "--told", ""), 2, "told[0] must be text"),
    "topic": (("consent", "limit", "grace", "my topic", "--new"), 2, "words separated by `/`"),
    "human": (("consent", "grant", "My Name", "--new"), 2, "human must be up to 63 of a-z, 0-9"),
    "name of a human": (("consent", "grant", "grace", "--new", "--name", ""), 2, "name must be text of 1 to"),
    "page that is none": (("claim", "ls", "--after", "zzz"), 2, "after must be 64 hex digits"),
    "own trust": (("trust", "block", "{ada}", "--reason", "x"), 5, "own fingerprint"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_the_wrong_value_is_named(mistake: str, ada: UpNode, capfd: Capture) -> None:
    """UX-4: the value, and what it must be, in words for people."""
    words, exit_, says = WRONG[mistake]
    done = here(
        capfd, *(one.replace("{ada}", ada.fingerprint) for one in words), "--data", ada.data, "--json"
    )
    assert done.exit == exit_, done
    message = json.loads(done.out)["error"]["message"]
    assert says in message
    assert not MACHINE.search(message)
    assert "line" not in message, "no line of a file is wrong"


def test_nothing_is_half_done(ada: UpNode, capfd: Capture) -> None:
    """A human that was to limit consent to what is no topic is not there afterwards; nor has a node its own trust."""
    here(capfd, "consent", "limit", "grace", "my topic", "--new", "--data", ada.data)
    here(capfd, "trust", "block", ada.fingerprint, "--reason", "x", "--data", ada.data)
    assert here(capfd, "consent", "ls", "--data", ada.data, "--json").data["humans"] == []
    assert here(capfd, "trust", "ls", "--data", ada.data, "--json").data["peers"] == []


def test_a_name_that_begins_a_fingerprint_is_ambiguous(ada: UpNode, capfd: Capture) -> None:
    """UX-10: whoever types the first digits of one peer never means another who is called so."""
    fine(here(capfd, "peer", "add", "b0b0b0b0", OTHER, "--data", ada.data))
    done = here(capfd, "peer", "show", "b0b0b0b0", "--data", ada.data, "--json")
    assert (done.code, done.exit) == ("ambiguous_name", 6)
    message = json.loads(done.out)["error"]["message"]
    assert OTHER in message
    assert "(bob)" in message
    assert here(capfd, "peer", "show", OTHER, "--data", ada.data, "--json").data["name"] == "b0b0b0b0"
    fine(here(capfd, "peer", "rm", OTHER, "--data", ada.data))


@pytest.mark.parametrize("name", ['a"b', "", "Ada Lovelace", "a\nb", "é", "x" * 65])
def test_init_takes_no_name_that_is_none(name: str, tmp_path: Path, capfd: Capture) -> None:
    """UX-8: what `init` makes can be read; what cannot be is not made."""
    done = here(capfd, "init", "--data", tmp_path / "node", "--name", name, "--json")
    assert (done.code, done.exit) == ("configuration_value", 2)
    assert not (tmp_path / "node").exists()


def test_init_says_where_to_listen(tmp_path: Path, capfd: Capture) -> None:
    """A second node on one machine needs another port."""
    fine(here(capfd, "init", "--data", tmp_path / "bob", "--listen", "tcp://127.0.0.1:7441"))
    assert read_config(tmp_path / "bob" / "web4.toml").rtt.listen == ("tcp://127.0.0.1:7441",)
    done = here(capfd, "init", "--data", tmp_path / "carol", "--listen", "7441", "--json")
    assert (done.code, done.exit) == ("configuration_value", 2)
    assert "tcp://host:port" in json.loads(done.out)["error"]["message"]
    assert not (tmp_path / "carol").exists()


def test_init_where_a_file_is(tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "file").write_text("mine")
    done = here(capfd, "init", "--data", tmp_path / "file", "--json")
    assert (done.code, done.exit) == ("not_a_directory", 3)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_address_is_in_use(ada: UpNode, tmp_path: Path, capfd: Capture) -> None:
    """Exit code 3, and what to do; the directory can be used again."""
    made(tmp_path / "bob")
    config = tmp_path / "bob" / "web4.toml"
    config.write_text(config.read_text().replace("tcp://127.0.0.1:0", ada.address))
    done = process("up", "--data", tmp_path / "bob", "--json")
    error = json.loads(done.out.splitlines()[-1])["error"]
    assert (done.exit, error["code"]) == (3, "address_in_use")
    assert ada.address in error["message"]
    assert "[rtt] listen" in error["hint"]
    assert not MACHINE.search(error["message"])


@pytest.mark.parametrize("address", ["7440", "http://127.0.0.1:1", "tcp://127.0.0.1:99999", "mesh://x"])
def test_an_address_to_listen_at_is_named_with_its_line(address: str, tmp_path: Path, capfd: Capture) -> None:
    """UX-36: wrong values are errors with their line, before anything is opened."""
    made(tmp_path / "ada")
    config = tmp_path / "ada" / "web4.toml"
    config.write_text(config.read_text().replace("tcp://127.0.0.1:0", address))
    done = here(capfd, "up", "--data", tmp_path / "ada", "--json")
    error = json.loads(done.out.splitlines()[-1])["error"]
    assert (done.exit, error["code"]) == (2, "configuration_value")
    assert "line 8" in error["message"]
    assert address in error["message"]
    assert not (tmp_path / "ada" / "journal").exists()


def test_of_two_peers_added_at_once_neither_is_lost(tmp_path: Path) -> None:
    """Nothing lost: whoever was told that a peer was added finds it in the file."""
    made(tmp_path / "ada")
    names = [f"peer{number}" for number in range(12)]

    def add(name: str) -> int:
        fingerprint = name.encode().hex().ljust(64, "0")
        return process("peer", "add", name, fingerprint, "--data", tmp_path / "ada").exit

    with ThreadPoolExecutor(4) as at_once:
        assert set(at_once.map(add, names)) == {0}
    assert sorted(one.name for one in read_peers(tmp_path / "ada" / "peers.toml")) == sorted(names)


def test_no_node_to_be_told_anything(tmp_path: Path, capfd: Capture) -> None:
    """A directory without a node is that, and no node that does not run."""
    for words in (
        ("down",),
        ("claim", "propose", "x", "--domain", "d"),
        ("trust", "block", "b", "--reason", "x"),
    ):
        done = here(capfd, *words, "--data", tmp_path / "nowhere", "--json")
        assert (done.code, done.exit) == ("no_node", 6)


def test_a_claim_says_what_it_waits_for(ada: UpNode, capfd: Capture) -> None:
    """UX-4: whoever reads `pending` reads what is missing, and the reference has every rule."""
    done = here(capfd, "claim", "propose", "Ice floats", "--domain", "physics", "--data", ada.data)
    assert "pending (waits for confirmers), rule h" in done.out
    for rule in get_args(Rule):
        assert f"| `{rule}` |" in REFERENCE.read_text()


def test_what_is_exported_can_be_dialled(tmp_path: Path, capfd: Capture) -> None:
    """What `id export` prints stands in others' `peers.toml` as it is: no wildcard, no port to come, no socket."""
    made(tmp_path / "ada")
    config = tmp_path / "ada" / "web4.toml"
    listen = (
        '"tcp://0.0.0.0:7440", "tcp://[::]:7440", "tcp://127.0.0.1:0", "unix:///a", "tcp://192.0.2.7:7440"'
    )
    config.write_text(config.read_text().replace('"tcp://127.0.0.1:0"', listen))
    text = fine(here(capfd, "id", "export", "--data", tmp_path / "ada")).out
    (tmp_path / "peers.toml").write_text(text)
    (peer,) = read_peers(tmp_path / "peers.toml")
    assert peer.addresses == ("tcp://192.0.2.7:7440",)
    assert "# not for others: tcp://0.0.0.0:7440" in text


def test_status_warns_of_a_peers_file_that_cannot_be_read(tmp_path: Path, capfd: Capture) -> None:
    """UX-9: a node that runs goes on with what it read, and its operator hears that it would not start again."""
    with up(tmp_path / "ada") as node:
        (node.data / "peers.toml").write_text("[[peers]]\n")
        done = here(capfd, "status", "--check", "--data", node.data, "--json")
        assert done.exit == 8
        (warning,) = done.data["warnings"]
        assert "peers.toml, line 1: there is no key 'peers'; did you mean 'peer'?" in warning


def test_a_long_reason_is_one_line_of_up() -> None:
    """UX-8: one line per notable event, however much somebody wrote."""
    event = Event(
        v="1.0", severity="info", seq=1, event_id="e", type="trust_transition", ts="2026-11-22T00:00:00.000000Z",
        mono_ns=1, node="ada",
        payload={"from": "trusted", "to": "trusted", "reason": "x" * 30_000},
    )  # fmt: skip
    assert len(_row(event)) < 250
