"""What an extension written in Python imports (section 11 of the specification)."""
