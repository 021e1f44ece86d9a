"""What the doctor is told (EXT-32)."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from web4.worker.request import Entered, NotEntered
from web4.worker.sandbox import landlock, libc
from web4.worker.sandbox.probing import probe


def test_each_level_is_tried(tmp_path: Path) -> None:
    hidden = tmp_path / "data"
    before = (Path("/proc/self/status").read_text().count("\n"), libc.prctl(libc.PR_GET_NO_NEW_PRIVS))
    kernel = probe(hidden=(str(hidden),))
    assert (kernel.release, kernel.machine) == (platform.release(), platform.machine())
    assert kernel.landlock == landlock.abi()
    for level, report in kernel.levels.items():
        assert isinstance(report, Entered), report
        assert report.protections.level == level
        assert report.protections.missing == ()
        assert report.pid != os.getpid()
    after = (Path("/proc/self/status").read_text().count("\n"), libc.prctl(libc.PR_GET_NO_NEW_PRIVS))
    assert before == after, "the caller itself entered nothing"


def test_why_a_level_does_not_start_is_told() -> None:
    kernel = probe(hidden=("/usr/lib",))
    assert isinstance(kernel.levels["none"], Entered)
    for level in ("standard", "strict"):
        report = kernel.levels[level]
        assert isinstance(report, NotEntered)
        assert report.code == "extension_unprotected"
        assert "/usr covers" in report.reason


def test_a_user_that_cannot_be_become_is_told() -> None:
    if os.getuid() == 0:
        pytest.skip("root becomes anybody")
    report = probe(user=(0, 0)).levels["standard"]
    assert isinstance(report, NotEntered)
    assert report.code == "extension_start_failed"
