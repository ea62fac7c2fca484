"""The worker: one scheduler, named jobs, and the threads that dial."""

from bx24app.worker.worker import Worker, init_app

__all__ = ["Worker", "init_app"]
