"""Web4: a runtime for agents that have to be trusted."""
