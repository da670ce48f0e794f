"""Metrics for Prometheus: the figures of a store, in its text format or in OpenMetrics.

>>> import belaypin
>>> from belaypin import metrics
>>> store = belaypin.open("sqlite:///:memory:")
>>> body, content_type = metrics.exposition(store)
>>> b"belaypin_up 1.0" in body
True
>>> store.close()
"""

from __future__ import annotations

from importlib.util import find_spec
from weakref import WeakKeyDictionary, proxy

import belaypin

if find_spec("prometheus_client") is None:
    raise belaypin.MissingDriver(
        "Metrics need prometheus-client, which is not installed. Run: pip install "
        "'belaypin[metrics]'"
    )

from belaypin.metrics.catalogue import METRICS, Metric
from belaypin.metrics.exporter import OWN_METRICS, Exporter

__all__ = ["METRICS", "OWN_METRICS", "Exporter", "Metric", "exposition"]

_EXPORTERS: WeakKeyDictionary[belaypin.Store, Exporter] = WeakKeyDictionary()


def exposition(store: belaypin.Store, accept: str = "") -> tuple[bytes, str]:
    """Answer one scrape of ``store``: the body and its content type. To be mounted anywhere.

    ``accept`` is the request's Accept header. Scrapes of one store share their samples; for other
    limits than the default ones make an ``Exporter`` and keep it. Never raises for what the store
    does: then ``belaypin_up`` is 0.
    """
    exporter = _EXPORTERS.get(store)
    if exporter is None:
        exporter = _EXPORTERS.setdefault(store, Exporter(proxy(store)))  # gone with its store
    return exporter.exposition(accept)
