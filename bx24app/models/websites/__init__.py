"""Website forms, what came with their requests, their limits, keys and webhooks."""
