"""What the app counts, for Prometheus: instruments, the files that its processes share, and the text of a scrape."""

from bx24app.metrics.exposition import CONTENT_TYPE, expose
from bx24app.metrics.instruments import (
    count_accepted,
    count_attempt,
    count_change,
    count_delivery,
    count_event,
    count_http_request,
    count_renewal,
    count_rest_request,
    note_answer,
    note_dial,
    watch_job,
)
from bx24app.metrics.shared_files import share_counts

__all__ = [
    "CONTENT_TYPE",
    "count_accepted",
    "count_attempt",
    "count_change",
    "count_delivery",
    "count_event",
    "count_http_request",
    "count_renewal",
    "count_rest_request",
    "expose",
    "note_answer",
    "note_dial",
    "share_counts",
    "watch_job",
]
