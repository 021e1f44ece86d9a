"""A LangGraph graph that checkpoints each step to SQLite before the next one starts, 512 bytes of state.

One node that leads to itself; a step is one run of it, with the writes and the checkpoint that make it durable.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph

from scripts.bench.journal_task import PAYLOAD, Counting, Task, now

if TYPE_CHECKING:
    from scripts.bench.figures import Measurement


class _State(TypedDict):
    memo: str


def measure(task: Task) -> Measurement:
    """Run steps for as long as the task says."""
    counting = Counting()
    last = [now()]
    until = [0]

    def work(_: Any) -> dict[str, str]:
        moment = now()
        counting.latencies.append(moment - last[0])
        last[0] = moment
        return {"memo": "x" * PAYLOAD}

    def onward(_: Any) -> str:
        return "work" if now() < until[0] else "__end__"

    connection = sqlite3.connect(Path(task.directory) / "checkpoints.db", check_same_thread=False)
    graph: Any = StateGraph(_State)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    graph.add_conditional_edges("work", onward)
    compiled = graph.compile(checkpointer=SqliteSaver(connection))

    def run(name: str, seconds: float) -> None:
        until[0] = now() + int(seconds * 1e9)
        config = {"configurable": {"thread_id": name}, "recursion_limit": 1_000_000}
        compiled.invoke({"memo": ""}, config, durability="sync")

    try:
        # The driver's own: sync on each commit. LangGraph's saver switches to a WAL, and leaves that as it is.
        connection.execute("PRAGMA synchronous = FULL")
        run("warm-up", task.warm_up)
        counting.begin()
        run("counted", task.seconds)
        return counting.end()
    finally:
        connection.close()
