"""Who descends from a process (EXT-22)."""

from __future__ import annotations

import os
import subprocess
import sys

from web4.worker.descendants import descendants

TREE = """
import os, sys, time
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        time.sleep(60)
zombie = os.fork()
if zombie == 0:
    os._exit(0)
print("up", flush=True)
sys.stdin.read()
"""


def test_generations_sessions_and_zombies_all_count() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        found = descendants(parent.pid)
        while len(found) < 5:
            found = descendants(parent.pid)
        assert len(found) == 5
        assert parent.pid in descendants(os.getpid())
        first = found[0]
        assert found.index(first) < found.index(descendants(first)[0])
        for pid in found:
            os.kill(pid, 9)
        parent.kill()
    assert descendants(parent.pid) == []
