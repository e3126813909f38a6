"""What a submission is, how it is made, and every check that it has to pass."""
