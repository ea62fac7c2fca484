"""HTTP to addresses that others chose: which are permitted, and whether a request may have been sent."""
