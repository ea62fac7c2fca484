"""Parts of the statements of the guarded write."""
