"""What importing does: nothing."""

from __future__ import annotations

import json
import subprocess
import sys

# Runs in an interpreter of its own, in which nothing of web4 was imported yet.
PROBE = r"""
import json, os, pkgutil, signal, sys, threading
import importlib

# What other people's modules do at import is theirs; they are imported before we look.
import msgspec, trio, encodings.idna

FAMILIES = {"socket", "subprocess", "signal", "shutil", "sqlite3", "urllib"}
ACTS = {
    "_thread.start_new_thread", "os.chdir", "os.chmod", "os.exec", "os.fork", "os.forkpty", "os.link",
    "os.mkdir", "os.posix_spawn", "os.putenv", "os.remove", "os.rename", "os.system", "os.unsetenv",
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
seen = []

def watch(event, arguments):
    if event.split(".")[0] in FAMILIES or event in ACTS:
        seen.append(event)
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        seen.append(f"open for writing: {arguments[0]}")

def descriptors():
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sorted(os.readlink(link) for link in links if os.path.exists(link))

def mask():
    current = os.umask(0o77)
    os.umask(current)
    return current

def state():
    return {
        "threads": threading.active_count(),
        "native threads": len(os.listdir("/proc/self/task")),
        "descriptors": descriptors(),
        "handlers": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "umask": mask(),
    }

before = state()
sys.addaudithook(watch)
import web4
names = ["web4"]
for module in pkgutil.walk_packages(web4.__path__, "web4."):
    if not module.name.endswith(".__main__"):
        names.append(module.name)
        importlib.import_module(module.name)
acts = list(seen)
after = state()
changed = [key for key in before if before[key] != after[key]]
print(json.dumps({"names": names, "acts": acts, "changed": changed}))
"""


def test_import_has_no_side_effects() -> None:
    """Section 23: importing any module starts no thread or process, opens nothing, changes nothing."""
    result = subprocess.run(
        [sys.executable, "-B", "-X", "utf8", "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    report = json.loads(result.stdout)
    assert {"web4", "web4._core", "web4.foundation.envelope"} <= set(report["names"])
    assert report["acts"] == []
    assert report["changed"] == []
