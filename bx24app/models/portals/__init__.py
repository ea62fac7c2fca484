"""A portal, its people, their tokens, and what was asked of it."""
