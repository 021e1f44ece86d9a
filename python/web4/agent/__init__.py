"""Floor 7: an agent's loop on the node: tasks, hooks, working presence, pacing (section 17).

router = ProtocolRouter(cip)
AgentLoopAdapter(router, handler)
"""

from web4.agent.adapter import AgentLoopAdapter
from web4.agent.channels import ChannelHandler
from web4.agent.errors import AgentError
from web4.agent.options import AgentOptions
from web4.agent.ports import MissionVerdict
from web4.agent.questions import Answer
from web4.agent.tasks import Result, Task
from web4.agent.working import Working, WorkingPresence
from web4.protocols.lip.untrusted import UntrustedText

__all__ = [
    "AgentError",
    "AgentLoopAdapter",
    "AgentOptions",
    "Answer",
    "ChannelHandler",
    "MissionVerdict",
    "Result",
    "Task",
    "UntrustedText",
    "Working",
    "WorkingPresence",
]
