"""What a template does before it forks leaves nothing behind in its workers (EXT-35)."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, os, sys
import web4.ext.serving_async
from web4.ext.rehearsal import rehearse
from web4.worker import forking, starting

def state():
    return (
        set(sys.modules), sys.path[:], sys.path_hooks[:], set(sys.path_importer_cache), sys.meta_path[:],
        sorted(os.listdir("/proc/self/fd")), dict(os.environ), os.getpid(),
    )

rehearse(); starting.rehearse(); forking.rehearse()  # what they import themselves may stay
before = state()
rehearse(); starting.rehearse(); forking.rehearse()
assert state() == before
assert not [one for one in sys.modules if "stand_in" in one]
assert len(os.listdir("/proc/self/task")) == 1
pid = forking.fork()
if pid == 0:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
print("as before")
"""


def test_ext_35_a_rehearsal_leaves_nothing() -> None:
    """No module, path, finder, descriptor, variable or thread; and the process forks as it did."""
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{PROGRAM}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("as before\n", "")
