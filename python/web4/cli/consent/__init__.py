"""The verbs of `web4 consent`."""
