"""Specs: what a task asks, and which tasks make a track."""
