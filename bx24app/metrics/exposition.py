"""The text of a scrape: what all processes of this machine have counted, and what the caller adds."""

from collections.abc import Iterable, Iterator

from prometheus_client import disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from bx24app.metrics.instruments import REGISTRY
from bx24app.metrics.shared_files import shared_folder

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Collected:
    def __init__(self, added: Iterable[Metric]) -> None:
        self._added = added

    def collect(self) -> Iterator[Metric]:
        folder = shared_folder()
        if folder is None:
            yield from REGISTRY.collect()
        else:
            # A process that has just begun has made its file and not yet written to it.
            written = [str(file) for file in folder.glob("*.db") if file.stat().st_size]
            yield from MultiProcessCollector.merge(written)
        yield from self._added


def expose(added: Iterable[Metric]) -> bytes:
    """Write what was counted, and the gauges that the caller has read, as Prometheus reads them."""
    # When a counter began is no figure of its own; several processes cannot tell it either.
    disable_created_metrics()
    return generate_latest(_Collected(added))
