"""Results in the formats of other tools, each written by that tool's own library, and never better than they are."""
