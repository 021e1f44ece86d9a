"""`web4 peer show`: why there is no session with a peer, live and from the directory (UX-4)."""

from __future__ import annotations

import re
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.command import here, process
from tests.cli.nodes import UpNode, connected_to, fine, until, up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
NEVER = "never_greeted"


def nobody_listens() -> str:
    """An address of this machine at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{one.getsockname()[1]}"


NOBODY = nobody_listens()


@pytest.fixture(scope="module")
def ada(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpNode]:
    """A node that runs, and has nobody to talk to."""
    with up(tmp_path_factory.mktemp("nodes") / "ada") as node:
        named: tuple[tuple[str, ...], ...] = (
            ("deaf", "5a" * 32, NOBODY),
            ("impostor", "5b" * 32, node.address),
            ("quiet", "5c" * 32),
            ("far", "5d" * 32, f"mesh://{'5d' * 32}"),
            ("bad", "5e" * 32, NOBODY),
        )
        for words in named:
            fine(process("peer", "add", *words, "--data", node.data))
        fine(process("trust", "block", "bad", "--reason", "stolen", "--data", node.data))
        yield node


def session(data: Path, peer: str) -> dict[str, Any]:
    """What is told of the session with a peer."""
    found: dict[str, Any] = fine(process("peer", "show", peer, "--data", data, "--json")).data["session"]
    return found


def troubled(data: Path, peer: str, code: str) -> dict[str, Any]:
    """The same, as soon as this is what failed last."""

    def so() -> dict[str, Any] | None:
        row = session(data, peer)
        trouble = row["trouble"]
        return row if trouble is not None and trouble["code"] == code else None

    found: dict[str, Any] = until(so)
    return found


def test_nobody_answers(ada: UpNode, capfd: Capture) -> None:
    """What failed, where and when, and that it is tried again; people read the same."""
    row = troubled(ada.data, "deaf", "unreachable")
    assert (row["state"], row["why"], row["dials"]) == ("none", ["failing", NEVER], True)
    assert (row["trouble"]["what"], row["trouble"]["address"]) == ("connection_failed", NOBODY)
    later = until(lambda: session(ada.data, "deaf")["next_ms"])  # none while it is being dialled
    assert later > row["trouble"]["at_ms"]
    text = fine(here(capfd, "peer", "show", "deaf", "--data", ada.data)).out
    assert re.search(rf"failed +no connection \(unreachable\) at {NOBODY}, 20", text)
    assert re.search("because +there has never been a handshake with it", text)
    assert re.search("session +none\n", text)


def test_somebody_else_answers(ada: UpNode) -> None:
    """A wrong address is told from a wrong fingerprint: whoever listens there has another key, here this node's own."""
    row = troubled(ada.data, "impostor", "self_connection")
    assert (row["why"], row["trouble"]["address"]) == (["failing", NEVER], ada.address)


@pytest.mark.parametrize(
    ("peer", "why", "dials", "says"),
    [
        ("quiet", ["no_address", NEVER], False, "it has to dial this node"),
        ("far", ["no_way", NEVER], True, "no way leads there over the mesh"),
        ("bad", ["blocked", NEVER], False, "it is blacklisted"),
    ],
)
def test_nothing_was_tried(
    peer: str, why: list[str], dials: bool, says: str, ada: UpNode, capfd: Capture
) -> None:
    """Address unknown, no way over the mesh, blocked: each is named, and whether the node goes on trying."""
    row = session(ada.data, peer)
    assert (row["state"], row["why"], row["dials"], row["next_ms"]) == ("none", why, dials, None)
    text = fine(here(capfd, "peer", "show", peer, "--data", ada.data)).out
    assert says in text
    assert ("none by this node" in text) is not dials


def test_a_session_that_was(tmp_path: Path, capfd: Capture) -> None:
    """The peer dies: its session waits, with what failed. It blocks this node: that it was not let in is said. The node
    stops: what is durable is left."""
    with up(tmp_path / "ada") as ada:
        with up(tmp_path / "bob") as bob:
            fine(here(capfd, "peer", "add", "bob", bob.fingerprint, bob.address, "--data", ada.data))
            connected_to(ada, bob)
            assert session(ada.data, "bob") == {
                "state": "up", "why": [], "dials": False, "trouble": None, "next_ms": None,
            }  # fmt: skip
            fine(here(capfd, "trust", "block", ada.fingerprint, "--reason", "x", "--data", bob.data))
            row = troubled(ada.data, "bob", "not_admitted")
            assert (row["state"], row["why"], row["dials"]) == ("none", ["failing"], True)
            fine(here(capfd, "trust", "override", ada.fingerprint, "--reason", "x", "--data", bob.data))
            connected_to(ada, bob)
            bob.process.send_signal(signal.SIGKILL)
            row = troubled(ada.data, "bob", "unreachable")
            assert (row["state"], row["why"], row["dials"]) == ("suspended", ["failing"], True)
            assert row["trouble"]["address"] == bob.address
            text = fine(here(capfd, "peer", "show", "bob", "--data", ada.data)).out
            assert "suspended: it waits for another connection" in text
        fine(here(capfd, "peer", "add", "quiet", "5c" * 32, "--data", ada.data))
        fine(here(capfd, "trust", "block", "quiet", "--reason", "x", "--data", ada.data))
        fine(here(capfd, "down", "--data", ada.data))
        row = session(ada.data, "bob")
        assert (row["state"], row["why"], row["dials"]) == ("none", ["not_running"], None)
        assert session(ada.data, "quiet")["why"] == ["not_running", "blocked", "no_address", NEVER]
        assert "the node does not run" in fine(here(capfd, "peer", "show", "bob", "--data", ada.data)).out
