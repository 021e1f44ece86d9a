"""Floor 0: what every room agrees on: errors, clock, ids, identity, envelope, codec, events."""
