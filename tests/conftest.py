"""For all tests."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

# Workers import what their node was told to, and not from where it was started. Some run modules of these tests.
_NAMED = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), _NAMED)))

# A shell that starts these tests in its background has them ignore Ctrl-C, and so all that they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long it takes to make an example, or to try it, says something about the machine, and nothing about the code. What
# fails says how to repeat it; where a change is judged, as by Hypothesis' own profile for it, every run has the same.
settings.register_profile(
    "web4",
    deadline=None,
    print_blob=True,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("web4")

# pytest-trio lets every turn of Trio's scheduler be shuffled. What an unlucky order finds is to be found again: the
# seed is printed with a failure, and where a change is judged every run has the same one.
_FIXED = "0" if "CI" in os.environ else None
_SCHEDULING = os.environ.get("WEB4_SCHEDULING", _FIXED) or str(random.SystemRandom().getrandbits(32))


# Rooms with files that take long. They come first, so that no process is left alone with one at the end.
_FIRST = ("tests/e2e/", "tests/chaos/", "tests/cli/", "tests/mesh/", "tests/scripts/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first, else in the order of their names."""
    items.sort(key=lambda item: not item.nodeid.startswith(_FIRST))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Every test has an order of its own, alone and among others the same."""
    trio._core._run._r.seed(f"{_SCHEDULING} {item.nodeid}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.append(("Order of tasks", f"WEB4_SCHEDULING={_SCHEDULING} repeats it"))
    return report
