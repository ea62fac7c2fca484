"""Reports: what becomes of requests, counted by the worker and added up for any period and zone."""
