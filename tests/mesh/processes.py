"""Nodes of a mesh as operating system processes, read line by line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.mesh.meshes import identity_of
from tests.mesh.process_node import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60.0


class NodeProcess:
    """One node. What it prints is collected; `until` waits for a line."""

    def __init__(self, settings: Settings) -> None:
        self.name = settings.name
        self.fingerprint = identity_of(settings.name).fingerprint
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mesh.process_node", json.dumps(asdict(settings))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def order(self, do: str, peer: str, **more: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, "peer": peer, **more}).encode() + b"\n")
        self.process.stdin.flush()

    def of(self, kind: str, **wanted: Any) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["kind"] == kind and wanted.items() <= line.items()]

    def until(self, kind: str, count: int = 1, **wanted: Any) -> dict[str, Any]:
        """Wait until it has printed so many of these; the last of them."""
        self.wait(lambda: len(self.of(kind, **wanted)) >= count, f"{kind} {wanted}")
        return self.of(kind, **wanted)[count - 1]

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._news:
            done = self._news.wait_for(lambda: condition() or self._ended, PATIENCE)
        assert done, f"{self.name} waits in vain for {what}: {self.lines[-12:]}"
        assert condition(), f"{self.name} ended before {what}: {self.lines[-12:]}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def node_processes(
    directory: Path, links: str, *, records: dict[str, Path] | None = None
) -> Iterator[dict[str, NodeProcess]]:
    """Start nodes joined as `links` says, `a-c c-b`; all trust each other. They are killed at the end."""
    pairs = [pair.split("-") for pair in links.split()]
    names = list(dict.fromkeys(name for pair in pairs for name in pair))
    with ExitStack() as stack:
        nodes: dict[str, NodeProcess] = {}
        for name in names:
            settings = Settings(
                name=name,
                directory=str(directory),
                dial=[second for first, second in pairs if first == name],
                trust=[other for other in names if other != name],
                records=str((records or {}).get(name, "")) or None,
            )
            nodes[name] = NodeProcess(settings)
            stack.callback(nodes[name].kill)
        for node in nodes.values():
            node.until("listening")
        yield nodes
