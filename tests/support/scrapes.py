"""What a scrape of ``/metrics`` says, and by how much it has grown since another one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Scrape:
    """The samples of one scrape."""

    samples: dict[Sample, float]

    def get(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name that have these labels; 0 where there is none."""
        wanted = labels.items()
        return sum(
            value for (found, has), value in self.samples.items() if found == name and wanted <= dict(has).items()
        )

    def labels(self, name: str) -> set[str]:
        return {label for found, has in self.samples if found == name for label, _ in has}

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}


def read_scrape(text: str) -> Scrape:
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return Scrape({(one.name, frozenset(one.labels.items())): one.value for one in samples})


def scrape(get: Callable[..., Any], token: str, url: str = "") -> Scrape:
    """Ask with ``get``, of a client of the app or of ``requests``."""
    response = get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
    assert response.status_code == 200, response.text
    return read_scrape(response.text)
