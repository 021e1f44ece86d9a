"""Floor 2: who writes a lane: mailboxes, single writers, supervision (ACT-1 to ACT-6).

async with open_lane_actors(journal, {"session": Tally()}) as actors:
    reply = await actors.lane(Lane("session", "one")).ask(command)
"""

from web4.actors.actor import Actor, ActorRef
from web4.actors.definition import Effect, LaneDefinition, Origin, Outcome
from web4.actors.errors import (
    ActorCrashError,
    ActorError,
    ActorStoppedError,
    DeadlockError,
    EffectError,
    MailboxFullError,
    RestartLimitError,
)
from web4.actors.lane_actors import LaneActors, open_lane_actors
from web4.actors.lane_ref import LaneRef
from web4.actors.lane_writer import LaneWriter, open_lane_writer
from web4.actors.mailbox import Mailbox
from web4.actors.metrics import ActorMetrics, Distribution
from web4.actors.options import ActorOptions
from web4.actors.restarting import RestartPolicy
from web4.actors.supervision import Strategy, Supervisor, open_supervisor

__all__ = [
    "Actor",
    "ActorCrashError",
    "ActorError",
    "ActorMetrics",
    "ActorOptions",
    "ActorRef",
    "ActorStoppedError",
    "DeadlockError",
    "Distribution",
    "Effect",
    "EffectError",
    "LaneActors",
    "LaneDefinition",
    "LaneRef",
    "LaneWriter",
    "Mailbox",
    "MailboxFullError",
    "Origin",
    "Outcome",
    "RestartLimitError",
    "RestartPolicy",
    "Strategy",
    "Supervisor",
    "open_lane_actors",
    "open_lane_writer",
    "open_supervisor",
]
