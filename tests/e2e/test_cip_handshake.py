"""The CIP handshake between two operating system processes, over real sockets and TLS (section 23)."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class NodeProcess:
    """A node in its own process, read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.cip_node", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.seen: list[dict[str, Any]] = []

    def until(self, kind: str) -> dict[str, Any]:
        """Read on to the next event of this type. A process that dies says why."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.seen.append(json.loads(line))
            if self.seen[-1]["kind"] == kind:
                return self.seen[-1]
        _, errors = self.process.communicate()
        raise AssertionError(f"ended without {kind!r}:\n{errors.decode()}")

    def kinds(self, prefix: str) -> list[str]:
        return [entry["kind"] for entry in self.seen if entry["kind"].startswith(prefix)]

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0


@contextmanager
def node_process(*arguments: str) -> Iterator[NodeProcess]:
    node = NodeProcess(*arguments)
    try:
        yield node
    finally:
        node.process.kill()
        with node.process:
            pass  # waits, and closes the pipes


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_hs_two_processes(scheme: str, tmp_path: Path) -> None:
    """Both sides established and probing, in one session; an INTENT goes there and its REPLYs come back.

    That the transcript repeats exactly needs a fixed binding, which no two TLS sessions share:
    `test_hs_transcript_repeats_exactly` shows it on the same code without I/O.
    """

    def listen(name: str) -> str:
        return "tcp://127.0.0.1:0" if scheme == "tcp" else f"unix://{tmp_path}/{name}.sock"

    with node_process("bob", listen("bob")) as bob:
        place = bob.until("listening")
        with node_process("ada", listen("ada"), place["url"], place["fingerprint"]) as ada:
            ada_listening = ada.until("listening")
            first, second = ada.until("established"), bob.until("established")
            assert (first["trust"], second["trust"]) == ("probing", "probing")
            assert first["session"] == second["session"]
            assert first["protocols"] == second["protocols"] == ["cip/1.0"]
            assert [ada.until("answered")["payload"] for _ in range(2)] == ["accepted", "done"]
            ada.end()
        assert bob.kinds("handshake_")[:4] == [
            "handshake_started",
            "handshake_step",
            "handshake_step",
            "handshake_completed",
        ]
        assert ada.kinds("handshake_")[:4] == [
            "handshake_started",
            "handshake_step",
            "handshake_step",
            "handshake_completed",
        ]
        for node, other in ((ada, place), (bob, ada_listening)):
            (raised,) = [entry for entry in node.seen if entry["kind"] == "trust_transition"]
            assert (raised["peer"], raised["from"], raised["to"]) == (
                other["fingerprint"],
                "unknown",
                "probing",
            )
        bob.end()
