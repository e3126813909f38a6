"""Plan, execute, store."""
