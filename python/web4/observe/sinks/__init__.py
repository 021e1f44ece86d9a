"""Where events go: each sink a file of its own."""
