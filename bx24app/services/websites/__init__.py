"""Callback requests from websites: forms, their rules and quotas, API keys, and the customer's status page."""
