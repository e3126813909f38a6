"""The result document, its statistics and its tables (no torch)."""
