"""What an extension says of itself, checked before any of it runs; what a node lets it ask for (EXT-5, EXT-24)."""
