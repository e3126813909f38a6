"""Names to trained networks: pixels in [0, 1] to logits, with their weights' hash, source and licence."""
