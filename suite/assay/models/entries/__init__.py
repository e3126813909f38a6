"""One module per kind of model; each has ``register(registry)`` and imports torch only when it is needed."""
