"""Digests, tickets, signed links and the rotation of keys."""
