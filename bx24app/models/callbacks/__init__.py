"""A callback, its attempts, its decisions, and what the portal reported of its calls."""
