"""Floor 1: lanes of events, each gap-free, hash-chained and durable before anybody hears of it (JRN-1 to JRN-24)."""
