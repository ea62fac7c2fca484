"""Pages inside the portal's frame."""
