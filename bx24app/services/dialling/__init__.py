"""Dialling due callbacks and following each call to its end."""
