"""Half an hour of requests with planned faults against the app as deployed: nothing leaks, nothing is lost."""
