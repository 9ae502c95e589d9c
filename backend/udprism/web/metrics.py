"""/metrics: what the bridge and the web app have counted, in the formats that Prometheus reads.

The figures live in columns of other threads. Families are built at each scrape, and nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isinf
from typing import Final, TypeAlias

from prometheus_client import Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from udprism.ledger.delays import Histogram
from udprism.web.definition import Definition
from udprism.web.metric_definitions import METRIC_PREFIX, METRICS

Number: TypeAlias = int | float
Family: TypeAlias = Number | Mapping[str, Number] | Histogram

LABELS: Final = {
    "info": "version",
    "clients": "state",
    "thread_restarts_total": "thread",
    "relay_datagrams_total": "direction",
    "relay_datagrams_lost_total": "cause",
    "departed_datagrams_total": "fate",
    "node_up": "node",
    "node_heard_seconds": "node",
    "nats_connections_total": "connection",
    "nats_dropped_total": "connection",
    "asks_total": "outcome",
    "asks_served_total": "kind",
    "node_commands_total": "outcome",
    "clock_offset_seconds": "node",
    "clock_offset_bound_seconds": "node",
}
"""Label of families whose label is not `reason`."""
_DEFINITIONS: Final = {one.id.removeprefix(METRIC_PREFIX): one for one in METRICS}


def exposition(families: Mapping[str, Family], accept: str = "") -> tuple[bytes, str]:
    """All families, and this process's own, as text; and its content type: OpenMetrics where `accept` names it.

    `…_total` is a counter, a `Histogram` a histogram, everything else a gauge; a mapping has one label.

    Raises: ValueError for a family that `metric_definitions` does not explain.
    """
    collected = _Collected(families)
    if "application/openmetrics-text" in accept:
        return openmetrics.generate_latest(collected), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]
    return generate_latest(collected), CONTENT_TYPE_PLAIN_0_0_4


class _Collected(Collector):
    """The families of one scrape."""

    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """One at a time."""
        for name, family in sorted(self._families.items()):
            yield _metric(name, family)
        yield from _process()


def _process() -> Iterable[Metric]:
    """Processor time, memory and descriptors; nothing if the system does not tell."""
    return ProcessCollector(registry=None).collect()


def _metric(name: str, family: Family) -> Metric:
    definition = _DEFINITIONS.get(name)
    if definition is None:
        raise ValueError(f"nothing explains the metric {name!r}: describe it in web/metric_definitions")
    full, text = METRIC_PREFIX + name, _help(definition)
    if isinstance(family, Histogram):
        buckets = [
            ("+Inf" if isinf(edge) else repr(edge), below)
            for edge, below in zip(family.edges_s, family.below, strict=True)
        ]
        return HistogramMetricFamily(full, text, buckets=buckets, sum_value=family.sum_s)
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    if not isinstance(family, Mapping):
        return kind(full, text, value=family)
    metric = kind(full, text, labels=[LABELS.get(name, "reason")])
    for value, number in family.items():
        metric.add_metric([value], number)
    return metric


def _help(definition: Definition) -> str:
    return " ".join(text for text in (definition.formula, definition.caveat) if text)
