"""Which coroutines run a figure: one for the server, one for the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from scripts.bench import load_control, load_damage, load_messages, load_sessions

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from scripts.bench.figures import Kind, Measurement, Task
    from scripts.bench.side import Side


class Load(Protocol):
    """One side's half of a figure, over a link that carries its kind."""

    def __call__(self, link: Any, task: Task, side: Side, /) -> Coroutine[Any, Any, Measurement]:
        """Run it."""


LOADS: dict[Kind, tuple[Load, Load]] = {
    "one_way": (load_messages.count, load_messages.flood),
    "ping_pong": (load_messages.echo, load_messages.ping),
    "control": (load_control.serve, load_control.drive),
    "open": (load_sessions.serve_open, load_sessions.drive_open),
    "idle": (load_sessions.serve_idle, load_sessions.drive_idle),
    "crowd": (load_sessions.serve_crowd, load_sessions.drive_crowd),
    "resets": (load_damage.receive_all, load_damage.send_all),
    "stall": (load_damage.receive_all, load_damage.send_all),
    "resume": (load_damage.serve_resume, load_damage.drive_resume),
}
