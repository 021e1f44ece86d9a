"""Verbs that make a node, run it, and ask it."""
