"""What is measured: one folder per family, one protocol for all."""
