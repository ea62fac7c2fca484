"""One callback: what happened to it, what the app does next, what belongs to it, and its recording."""
