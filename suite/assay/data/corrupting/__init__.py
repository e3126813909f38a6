"""Pictures that get noisy, blurred, foggy or compressed: the nineteen corruptions, for all that reads pictures."""
