"""What administrators set up: the setup check with its cures, and the first run."""
