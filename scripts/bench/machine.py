"""Where the figures were taken."""

from __future__ import annotations

import os
import platform
import ssl
import subprocess
from importlib.metadata import version
from pathlib import Path

from web4 import _core


def machine() -> dict[str, object]:
    """Return what a reader needs to judge the figures: hardware, kernel, runtime, commit, build."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "trio": version("trio"),
        "openssl": ssl.OPENSSL_VERSION,
        "build": _core.build_info(),
        "commit": commit.stdout.strip() or "unknown",
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }
