"""The durable outbox: what a node has promised to send, and what it was sent and has not dealt with (section 18)."""
