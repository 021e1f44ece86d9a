"""Floor 4: nodes beyond the neighbours: routes, relays, introductions, services, and what is known of them."""
