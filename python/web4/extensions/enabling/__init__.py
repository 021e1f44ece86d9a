"""That a human enabled an extension, on lane `server` (EXT-7, EXT-8, EXT-40)."""
