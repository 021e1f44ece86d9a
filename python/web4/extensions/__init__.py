"""Floor 3: code that is not trusted to stop, in processes that the node can kill."""
