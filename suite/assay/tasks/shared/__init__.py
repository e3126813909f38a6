"""What families share; a family imports from here and never from another family."""
