"""The bits of the status that most calls of a native session return: what its driver has to look at."""

HAS_EVENTS = 1
BLOCKED = 2
FINISHED = 4
"""The session is closed, and its carrier is gone."""
BURST = 8
"""A burst of single sends has begun, or goes on: the driver says when it ends."""
DETACHED = 16
"""The carrier is gone, the session is not."""
