"""What use cases need at run time: rate limits, a cache of rows, and a signal that wakes workers."""
