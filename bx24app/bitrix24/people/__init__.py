"""What the portal shows to single people."""
