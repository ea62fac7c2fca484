"""HTTP to addresses that others chose: which may be connected to, and whether a request can have been sent."""
