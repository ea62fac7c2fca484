"""What use cases need of the process: rate limits, a cache of rows, waking workers."""
