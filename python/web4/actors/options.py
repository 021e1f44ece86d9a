"""The `=` of section 6: bounds and times of lane actors."""

from __future__ import annotations

from dataclasses import dataclass, field

from web4.actors import mailbox
from web4.actors.effects import GRACE_SECONDS
from web4.actors.restarting import RestartPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """Bounds and times of lane actors; each can be configured.

    Args:
        control: Commands that may wait in a lane's control queue (ACT-4b).
        work: Commands that may wait in its work queue.
        drain: Commands that one round decides at most (ACT-2a).
        restarts: When an actor that raised is started again (ACT-5).
        grace_seconds: How long a cancelled effect may take to end before it is abandoned (ACT-3b).
        idle_seconds: After how long without work an actor is passivated (ACT-6).
        stop_seconds: How long a graceful stop may take before what is left is cancelled.
        recovery_seconds: How long recovery may take at start.
        seed: Of the jitter of restarts.
    """

    control: int = mailbox.CONTROL
    work: int = mailbox.WORK
    drain: int = mailbox.DRAIN
    restarts: RestartPolicy = field(default_factory=RestartPolicy)
    grace_seconds: float = GRACE_SECONDS
    idle_seconds: float = 600.0
    stop_seconds: float = 30.0
    recovery_seconds: float = 60.0
    seed: int = 0
