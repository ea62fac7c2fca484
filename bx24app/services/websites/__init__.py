"""Callback requests of the public: forms, the rules that guard them, and the customer's own page."""
