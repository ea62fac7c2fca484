"""Digests, tickets, signed links and key rotation."""
