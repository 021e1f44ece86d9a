"""Floor 2: who writes a lane: mailboxes, single writers, supervision (ACT-1 to ACT-6)."""
