"""Callbacks: request, accept, change and read them; who may do so, and when the app dials again."""
