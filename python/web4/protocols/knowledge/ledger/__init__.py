"""The ledger of claims: who said what, how it is counted, and what this node makes of it (section 10)."""
