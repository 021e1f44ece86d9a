"""What is deleted and still open takes room on the disk (EXT-24, section 6: `tmp_mb`)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from web4.extensions.conversation.sampling import exceeds

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
CODE = """
import os, sys
path = sys.argv[1] + "/file"
file = open(path, "wb", buffering=0)
file.write(b"x" * (1 << 20))
os.unlink(path)
again = os.dup(file.fileno())
memory = os.memfd_create("memory")
os.write(memory, b"x" * (4 << 20))
if sys.argv[2] == "child" and os.fork():
    file.close()
    os.close(again)
    os.close(memory)
    os.wait()
print("up", flush=True)
sys.stdin.read()
"""


def test_deleted_files_count_once_and_memory_does_not(tmp_path: Path) -> None:
    """Nor does it matter which process of the tree has them open."""
    for who in ("itself", "child"):
        command = [sys.executable, "-c", CODE, str(tmp_path), who]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
            assert one.stdout is not None
            one.stdout.readline()
            assert not os.listdir(tmp_path)
            assert not exceeds(str(tmp_path), MIB // 2)
            assert exceeds(str(tmp_path), MIB // 2, one.pid), who
            assert not exceeds(str(tmp_path), MIB * 3 // 2, one.pid), who
            one.communicate()
