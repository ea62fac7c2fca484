"""Measurements against a baseline or the platform's limits; nothing here is part of the app."""
