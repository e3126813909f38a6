"""What is measured: one folder a family, one protocol for all."""
