"""`web4 ext`: one module for each verb, and what they share. None of them loads extension code here (EXT-1)."""
