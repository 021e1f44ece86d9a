"""What this node knows, and how it came to: the ledger of claims, and causal memory."""
