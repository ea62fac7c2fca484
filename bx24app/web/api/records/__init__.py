"""What a portal keeps of changes and of numbers, for its administrators."""
