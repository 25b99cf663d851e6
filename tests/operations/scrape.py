"""What a node tells its operator at `/metrics`, taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.accept.client import Node

# Of the process and of Python itself; the client library names and tells them.
FOREIGN = ("process_", "python_")


@dataclass
class Scrape:
    """One look at a node."""

    families: dict[str, Metric] = field(default_factory=dict)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and these labels (others may be anything)."""
        return sum(
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        return {
            sample.labels[label]
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name
        }

    @property
    def own(self) -> dict[str, Metric]:
        return {
            name: family for name, family in self.families.items() if not name.startswith(FOREIGN)
        }

    @property
    def samples(self) -> set[str]:
        """The names of all series, as a query names them."""
        return {sample.name for family in self.families.values() for sample in family.samples}


async def scrape(node: Node) -> Scrape:
    async with node.http.get("/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return Scrape({family.name: family for family in text_string_to_metric_families(text)})
