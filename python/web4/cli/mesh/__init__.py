"""The verbs of `web4 mesh`."""
