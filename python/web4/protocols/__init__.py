"""Floor 4: what agents, their humans and the internet say to each other, and when it may be said."""
