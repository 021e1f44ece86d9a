"""The verbs of `web4 id`."""
