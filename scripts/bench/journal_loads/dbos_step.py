"""A durable step of DBOS on the same PostgreSQL: a workflow's step returns 512 bytes, which are recorded.

Each caller is a workflow that runs one step after another. Its start and its end are not counted.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from typing import TYPE_CHECKING

import psycopg
from dbos import DBOS, DBOSConfig

from scripts.bench.journal_task import PAYLOAD, Counting, Task, now

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement

_over = threading.Event()
_counting = Counting()


def _step() -> str:
    return "x" * PAYLOAD


def _steps() -> None:
    while not _over.is_set():
        begun = now()
        step()
        _counting.latencies.append(now() - begun)


step = DBOS.step(name="step")(_step)
"""Does nothing, durably."""
steps = DBOS.workflow(name="steps")(_steps)
"""One step after another."""


def measure(task: Task) -> Measurement:
    """Run as many workflows as there are callers."""
    logging.disable(logging.CRITICAL)
    name = f"dbos_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(task.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        given = connection.info
        url = f"postgresql+psycopg://{given.user}@/{name}?host={given.host}"
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "run_admin_server": False}
    DBOS(config=config)
    DBOS.launch()
    try:
        for _ in range(task.callers):
            DBOS.start_workflow(steps)
        time.sleep(task.warm_up)
        _counting.begin()
        time.sleep(task.seconds)
        return _counting.end()
    finally:
        _over.set()
        DBOS.destroy(workflow_completion_timeout_sec=10)
