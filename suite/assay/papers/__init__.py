"""The papers beside ours: published figures, what was measured, and what became of each claim."""
