"""What a device is worth: whether it gives the CPU's records, and how fast it is."""
