"""Attackers against the app as it is deployed: real processes, asked over HTTP from outside (docs/testing.md)."""
