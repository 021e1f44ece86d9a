"""A fork whose child is a sibling (EXT-35, EXT-36). Each runs in an interpreter of its own, which has one thread."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRELUDE = """
import mmap, os, random, signal, sys, threading, time
from web4.worker import forking
from web4.worker.sandbox import libc
memory = mmap.mmap(-1, 4096)
slots = forking.Slots(memory)
def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_kernel_leaves_the_number_before_the_child_runs() -> None:
    said = run("""
pid = forking.fork(slot=slots.address(3))
if pid == 0:
    os._exit(slots[3] == os.getpid())
assert wait(pid) == 1
assert slots[3] == pid and slots[2] == slots[4] == 0
print("good")
""")
    assert said == "good\n"


def test_a_sibling_is_the_child_of_our_parent() -> None:
    said = run("""
outer = os.fork()
if outer == 0:
    pid = forking.fork(libc.CLONE_PARENT, slot=slots.address(0))
    if pid == 0:
        time.sleep(0.2)
        os._exit(os.getppid() == int(sys.argv[1]) if len(sys.argv) > 1 else 42)
    memory[8:12] = pid.to_bytes(4, sys.byteorder)
    os.kill(os.getpid(), signal.SIGKILL)
assert wait(outer) == -signal.SIGKILL
assert slots[2] == slots[0]
assert wait(slots[0]) == 42
print("good")
""")
    assert said == "good\n"


def test_libc_and_the_interpreter_know_that_they_were_forked() -> None:
    """What a raw system call would leave stale: libc's id of the thread, random state, hooks of the fork."""
    said = run("""
called = []
os.register_at_fork(before=lambda: called.append("before"), after_in_child=lambda: called.append("child"),
                    after_in_parent=lambda: called.append("parent"))
signal.signal(signal.SIGUSR1, lambda *_: called.append("signal"))
drawn = random.random()
random.seed(7)
for flags in (0, libc.CLONE_PARENT):
    pid = os.fork()
    if pid == 0:
        called.clear()
        inner = forking.fork(flags, slot=slots.address(1))
        if inner == 0:
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            expected = random.Random(7).random()
            thread = threading.Thread(target=called.append, args=("thread",))
            thread.start()
            thread.join()
            good = called == ["before", "child", "signal", "thread"] and random.random() != expected
            again = os.fork()
            if again == 0:
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
                os._exit(0)
            os._exit(good and wait(again) == 0)
        if flags:
            os._exit(0)
        os._exit(wait(inner))
    assert wait(pid) == (0 if flags else 1)
    if flags:
        assert wait(slots[1]) == 1
print("good")
""")
    assert said == "good\n"


def test_what_the_kernel_refuses_is_an_error() -> None:
    said = run("""
try:
    forking.fork(libc.CLONE_THREAD)
except OSError as error:
    print(error.errno)
pid = forking.fork()
if pid == 0:
    os._exit(5)
print(wait(pid))
""")
    assert said == "22\n5\n"


def test_a_group_that_is_not_there_is_no_error() -> None:
    said = run("""
for group in ("/missing", "/"):
    pid = forking.fork(group=group)
    if pid == 0:
        os._exit(6)
    print(wait(pid))
""")
    assert said == "6\n6\n"


def test_a_process_with_threads_is_not_forked() -> None:
    said = run("""
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
try:
    forking.fork()
except RuntimeError as error:
    print(error)
""")
    assert "threads" in said


@pytest.mark.parametrize(
    ("patch", "word"), [("libc.LINUX = False", "Linux"), ("libc.MACHINE = ''", "x86_64 and aarch64")]
)
def test_a_machine_that_starts_no_workers_says_so(patch: str, word: str) -> None:
    """EXT-32: degrade loudly."""
    assert word in run(f"{patch}\nprint(forking.refusal())")
    assert run("print(forking.refusal())") == "None\n"
