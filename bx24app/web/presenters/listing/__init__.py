"""The list of callbacks in words: its rows, its filters, and its file."""
