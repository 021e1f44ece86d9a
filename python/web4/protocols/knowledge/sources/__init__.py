"""Where claims from the web come from, and how far that is trusted (LIP-2)."""
