"""Humans at two nodes in processes of their own: real sockets, disks and kills (HCP-3, HCP-5)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND_NS = 1_000_000_000
TRIES = 3
"""A machine may have other things to do for a second; hardly each time."""


class HumanProcess:
    """A node in its own process: told what to do line by line, and read."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.hcp_node", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.seen: list[dict[str, Any]] = []
        self.unread = 0

    def until(self, kind: str) -> dict[str, Any]:
        """The next line of this kind, of those that were not looked at; a process that dies says why."""
        while True:
            for number in range(self.unread, len(self.seen)):
                if self.seen[number]["kind"] == kind:
                    self.unread = number + 1
                    return self.seen[number]
            self.unread = len(self.seen)
            self._read()

    def do(self, do: str, **fields: Any) -> Any:
        """Give a command; its answer. Lines of other kinds stay unread."""
        assert self.process.stdin is not None
        before = len(self.seen)
        self.process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        self.process.stdin.flush()
        while True:
            for entry in self.seen[before:]:
                if entry["kind"] == "did":
                    assert "error" not in entry, entry
                    return entry["value"]
            before = len(self.seen)
            self._read()

    def until_it_says(self, do: str, value: Any) -> None:
        """Ask until the answer is this."""
        deadline = time.monotonic() + 30
        while (said := self.do(do)) != value:
            assert time.monotonic() < deadline, said
            time.sleep(0.02)

    def _read(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate()
            raise AssertionError(f"it ended:\n{errors.decode()}")
        self.seen.append(json.loads(line))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@contextmanager
def human_process(*arguments: str) -> Iterator[HumanProcess]:
    node = HumanProcess(*arguments)
    try:
        node.until("ready")
        yield node
    finally:
        node.process.kill()
        with node.process:
            pass


def befriend(ada: HumanProcess, bob: HumanProcess) -> None:
    for node in (ada, bob):
        node.do("act", act="grant")
        node.do("hello")
    for node in (ada, bob):
        node.until_it_says("people", [["granted", "probing"]])


def revoked_there(ada: HumanProcess, bob: HumanProcess) -> int:
    """Bob's human revokes while Ada works for him, and grants again; nanoseconds until the work has stopped."""
    ada.do("work")
    ada.until("working")
    known = len(ada.seen)
    bob.do("act", act="revoke")
    changed = ada.until("consent_changed")
    while changed["state"] != "revoked":
        changed = ada.until("consent_changed")
    (end,) = [one for one in ada.seen[known:] if one["kind"] == "stopped"] or [ada.until("stopped")]
    assert end["cancelled"]
    ada.until_it_says("people", [["revoked", "restricted"]])
    bob.do("act", act="grant")
    ada.do("act", act="regrant")
    ada.until_it_says("people", [["granted", "probing"]])
    return int(end["ns"] - changed["ns"])


def revoked_here(ada: HumanProcess) -> int:
    """Ada's human revokes while nobody takes what is queued; nanoseconds until work and queue are gone."""
    ada.do("act", act="grant")
    ada.until_it_says("people", [["granted", "probing"]])
    assert [ada.do("intent")[0] for _ in range(3)] == ["sent"] * 3
    assert ada.do("outbox").count("HCP_INTENT") == 3
    ada.do("work")
    ada.until("working")
    begun = time.monotonic_ns()
    ada.do("act", act="revoke")
    ada.until("stopped")
    while set(left := ada.do("outbox")) != {"HCP_STATE_UPDATE"}:
        assert time.monotonic_ns() - begun < 30 * SECOND_NS, left
    return time.monotonic_ns() - begun


def test_hcp_revocation_between_processes(tmp_path: Path) -> None:
    """HCP-3: by the other's agent and by one's own human: work stops and the queue is purged within a second, and
    nothing of it comes after the peer's death and return."""
    place = str(tmp_path)
    with human_process("ada", "bob", place, "dial") as ada:
        with human_process("bob", "ada", place) as bob:
            befriend(ada, bob)
            assert min(revoked_there(ada, bob) for _ in range(TRIES)) < SECOND_NS
            status, first = ada.do("intent")
            assert status == "sent"
            assert bob.until("intent")["msg_id"] == first
            bob.kill()
        assert min(revoked_here(ada) for _ in range(TRIES)) < SECOND_NS
        with human_process("bob", "ada", place) as bob:
            bob.until_it_says("people", [["revoked", "restricted"]])
            ada.until_it_says("outbox", [])
            # The first may come again: he died before it was settled (OUT-3).
            assert {one["msg_id"] for one in bob.seen if one["kind"] == "intent"} <= {first}
            bob.end()
        ada.end()


def test_hcp_checkin_survives_a_kill(tmp_path: Path) -> None:
    """HCP-5: the process that asked is killed; the question waits in the next one, and what waited for it passes."""
    place = str(tmp_path)
    with human_process("ada", "bob", place, "dial") as ada:
        with human_process("bob", "ada", place) as bob:
            befriend(ada, bob)
            bob.do("act", act="state", fields={"affect": "anxious"})
            # Known there, or both humans would be asked.
            ada.do("act", act="grant")
            status, msg_id = ada.do("intent")
            if status == "asked":
                ((question, _),) = ada.do("pending")
                ada.do("act", act="answer", fields={"check_in_id": question, "yes": True})
            bob.until("check_in_asked")
            ((question, asked),) = bob.do("pending")
            assert asked == msg_id
            assert "intent" not in {one["kind"] for one in bob.seen}
            bob.kill()
        with human_process("bob", "ada", place) as bob:
            assert bob.do("pending") == [[question, msg_id]]
            bob.do("act", act="answer", fields={"check_in_id": question, "yes": True})
            assert bob.until("intent")["msg_id"] == msg_id
            assert bob.do("pending") == []
            bob.end()
        ada.end()
