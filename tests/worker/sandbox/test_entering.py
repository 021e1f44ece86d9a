"""Entering: what is promised, measured, missed and demanded (EXT-29 to EXT-36)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.worker.sandbox import attacks, programs
from tests.worker.sandbox.inside import asked, run
from web4.worker.request import PROTECTIONS
from web4.worker.sandbox import Unprotected, enter, landlock

if TYPE_CHECKING:
    from web4.worker.request import Level

SWITCHED_OFF_BY_THE_NODE = ("cgroup", "parent_death")
"""Features that are made before the sandbox is entered."""


@pytest.mark.scenario("extensions#7")
def test_a_strict_worker_is_denied_everything(tmp_path: Path) -> None:
    """TCP, UDP, Unix sockets; accounts, journal, keys; ptrace of the node, a signal to it."""
    import socket

    data = tmp_path / "data"
    data.mkdir()
    for name in ("journal.sqlite", "node.key", "web4.toml"):
        (data / name).write_text("secret")
    node = os.getpid()
    ran = run(
        asked(tmp_path, level="strict", hidden=(str(data),)),
        (attacks.make_socket, socket.AF_INET, socket.SOCK_STREAM),
        (attacks.make_socket, socket.AF_INET, socket.SOCK_DGRAM),
        (attacks.make_socket, socket.AF_UNIX, socket.SOCK_STREAM),
        (attacks.read, "/etc/passwd"),
        (attacks.read, str(data / "journal.sqlite")),
        (attacks.read, str(data / "node.key")),
        (attacks.read, str(data / "web4.toml")),
        (attacks.read, f"/proc/{node}/environ"),
        (attacks.trace, 16, node),
        (attacks.signal_to, node, int(signal.SIGTERM)),
    )
    assert ran.protections.missing == ()
    assert ran.outcomes == [*["EACCES"] * 8, "EPERM", "EPERM"]


@pytest.mark.scenario("extensions#8")
@pytest.mark.parametrize("feature", PROTECTIONS)
def test_a_feature_switched_off(tmp_path: Path, feature: str) -> None:
    """EXT-32: standard reports it, strict and `required` refuse. A control group is promised by no level."""
    off = (feature,)
    found = run(asked(tmp_path, without=off)).protections
    if feature == "cgroup":
        assert found.cgroup == "off"
    else:
        assert feature in found.missing, found
        strict = run(asked(tmp_path, level="strict", without=off)).refusal
        assert strict.startswith("extension_unprotected: strict needs what this machine does not give: ")
        assert feature in strict
    demanding = run(asked(tmp_path, without=off, required=off)).refusal
    assert demanding == f"extension_unprotected: required, and not given by this machine: {feature}"


def test_what_is_missed_when_a_feature_is(tmp_path: Path) -> None:
    """Features stand on one another: without `no_new_privs` the kernel takes neither rules nor filters."""
    found = run(asked(tmp_path, without=("no_new_privs",))).protections
    assert (found.landlock, found.seccomp, found.network) == (0, "off", "allowed")
    assert {"no_new_privs", "landlock", "seccomp", "network", "signals", "processes"} <= set(found.missing)
    without_filter = run(asked(tmp_path, without=("seccomp",))).protections
    assert (without_filter.landlock, without_filter.signals) == (landlock.abi(), "landlock")
    assert set(without_filter.missing) == {"seccomp", "network", "processes", "tree_kill"}


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
def test_this_machine_gives_everything(tmp_path: Path, level: Level) -> None:
    """Where it does not, the tests of attacks would prove nothing: they are made for a kernel with all of it."""
    found = run(asked(tmp_path, level=level)).protections
    assert found.missing == ()
    assert found.seccomp == {"none": "limits_only", "standard": "deny_list", "strict": "allow_list"}[level]
    assert found.landlock == (0 if level == "none" else landlock.abi())


@pytest.mark.parametrize("abi", range(1, landlock.NEWEST + 1))
def test_rules_of_older_kernels(tmp_path: Path, abi: int) -> None:
    """EXT-32: each ABI is made the most of, and one that does not cover truncation is not called complete."""
    (tmp_path / "note").write_text("a note")
    calls = [
        (attacks.read, str(tmp_path / "note")),
        (attacks.create_and_remove, str(tmp_path / "tmp" / "new")),
        (attacks.create_and_remove, str(tmp_path / "extension" / "new")),
        (attacks.signal_to, os.getpid(), 0),
    ]
    ran = run(asked(tmp_path), *calls, abi=abi)
    assert ran.outcomes == ["EACCES", None, "EACCES", "EPERM"]
    assert ran.protections.landlock == abi
    assert ran.protections.signals == ("landlock" if abi >= 6 else "seccomp")
    assert ran.protections.missing == (("landlock",) if abi < 3 else ())
    unfiltered = run(asked(tmp_path, without=("seccomp",)), abi=abi).protections
    assert unfiltered.network == ("tcp_only" if abi >= 4 else "allowed")
    assert unfiltered.signals == ("landlock" if abi >= 6 else "off")


def test_it_refuses_what_it_does_not_understand(tmp_path: Path) -> None:
    for request in (
        asked(tmp_path, required=("magic",)),
        asked(tmp_path, without=("magic",)),
        asked(tmp_path, hidden=("relative",)),
    ):
        assert run(request).refusal.startswith("extension_start_failed: ValueError")


def test_it_wants_one_thread(tmp_path: Path) -> None:
    """Landlock holds for the thread that asks: another one would be free."""
    assert "one thread" in run_module("threaded", tmp_path)


def threaded(directory: str) -> str:
    release = threading.Event()
    other = threading.Thread(target=release.wait)
    other.start()
    try:
        enter(asked(Path(directory)))
    except Unprotected as error:
        return error.reason
    finally:
        release.set()
    return "entered"


def test_it_may_be_entered_again(tmp_path: Path) -> None:
    """Rules only add up."""
    assert run_module("twice", tmp_path) == "()"


def twice(directory: str) -> str:
    from web4.worker.sandbox import libc

    libc.set_parent_death_signal(signal.SIGKILL)
    request = asked(Path(directory))
    enter(request)
    return str(enter(request).missing)


def run_module(function: str, directory: Path) -> str:
    code = (
        f"import sys; sys.path[:] = {sys.path!r};"
        f"from tests.worker.sandbox.test_entering import {function} as it; print(it({str(directory)!r}))"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


# --- what must still work -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["none", "standard", "strict"])
def test_ordinary_python_works(tmp_path: Path, level: Level) -> None:
    """The allow list lets an interpreter, its libraries, threads and Trio live; imports come after entering."""
    calls: list[tuple[Any, ...]] = [
        (programs.imports,),
        (programs.native_packages,),
        (programs.trio_with_threads,),
        (programs.asyncio_with_threads,),
        (programs.files_of_all_kinds, str(tmp_path / "tmp")),
        (programs.database, str(tmp_path / "tmp")),
        (programs.clocks_and_signals,),
        (programs.randomness,),
        (programs.who_and_where,),
    ]
    ran = run(asked(tmp_path, level=level), *calls)
    assert ran.outcomes == ["fine"] * len(calls), ran


def test_a_request_survives_the_wire(tmp_path: Path) -> None:
    request = asked(tmp_path, level="strict", read=("/srv",), hidden=("/var/lib/web4",))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(request), type=type(request)) == request
