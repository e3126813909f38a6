"""The papers beside ours: published figures, our measurements, and a verdict on each claim."""
