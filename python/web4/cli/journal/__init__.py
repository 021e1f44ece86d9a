"""`web4 journal`: one module for each verb, and what they share."""
