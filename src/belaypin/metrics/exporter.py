"""The exporter: samples a store now and then in a thread of its own, and never keeps a scrape waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

import belaypin
from belaypin.clock import monotonic_s
from belaypin.metrics.catalogue import METRICS, Metric
from belaypin.metrics.sample import Sample, read

__all__ = ["OWN_METRICS", "Exporter"]

_SILENT_S = 30.0
_SHARE = 20


class _Taken(NamedTuple):
    """A sample, when it was taken, and how long that took."""

    sample: Sample
    at_s: float
    took_s: float


class Exporter(Collector):
    """The figures of one store for Prometheus; a collector that any registry takes as well.

    A scrape is answered from a sample that is at most ``max_age_s`` old, or taken now if that is
    done within ``timeout_s``; else from the newest there is, with ``belaypin_up`` 0 if the
    store can't be read. A sample is taken in a thread of its own, one at a time, and at most a
    20th of the time. ``pipelines``: so many have figures of their own, the first by name.
    ``worst``: so many streams that lag most are exported by name.
    """

    def __init__(
        self,
        store: belaypin.Store,
        *,
        max_age_s: float = 10,
        timeout_s: float = 1,
        pipelines: int = 50,
        worst: int = 10,
    ) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._timeout_s = timeout_s
        self._pipelines = pipelines
        self._worst = worst
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._began_s = 0.0
        self._looked_s = 0.0
        self._taken: _Taken | None = None
        self._failed = True  # nobody has looked yet
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Answer one scrape: the body and its content type, in the format that ``accept`` asks for.

        ``accept`` is the Accept header: with ``application/openmetrics-text`` in it the answer is
        in OpenMetrics, else in Prometheus's text format. Never raises for what the store does.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> Iterable[Family]:
        """Yield the families without figures: what a registry asks for when it is told of this."""
        return [_family(metric, ()) for metric in (*OWN_METRICS, *METRICS)]

    def collect(self) -> Iterable[Family]:
        """Yield the metric families; what a registry calls for each scrape."""
        taken, is_up = self._newest()
        yield _family(OWN_METRICS[0], [((), float(is_up))])
        if taken is None:
            return
        yield _family(OWN_METRICS[1], [((), monotonic_s() - taken.at_s)])
        yield _family(OWN_METRICS[2], [((), taken.took_s)])
        for metric in METRICS:
            yield _family(metric, metric.read(taken.sample))

    def _newest(self) -> tuple[_Taken | None, bool]:
        """The newest sample that can be had in time, and whether the store answers."""
        with self._changed:
            if self._is_due():
                self._begin()
            self._changed.wait_for(lambda: self._thread is None, self._timeout_s)
            is_silent = self._thread is not None and monotonic_s() - self._began_s > _SILENT_S
            return self._taken, not (self._failed or is_silent)

    def _is_due(self) -> bool:
        if self._thread is not None and self._thread.is_alive():
            return False  # it is not, in a child that was forked meanwhile
        return self._failed or monotonic_s() - self._looked_s >= self._max_age_s

    def _begin(self) -> None:
        self._began_s = monotonic_s()
        self._thread = threading.Thread(target=self._look, name="belaypin-metrics", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        newest, failed = self._taken, True
        try:
            newest = self._take(newest)
            failed = False
        except (belaypin.BelaypinError, ReferenceError):
            pass  # belaypin_up says so; why, the workers are told, as they meet the same
        finally:
            with self._changed:
                self._taken, self._failed = newest, failed
                self._looked_s = monotonic_s()
                self._thread = None
                self._changed.notify_all()

    def _take(self, last: _Taken | None) -> _Taken:
        """A sample; the last one if it has not had its rest, and the store does answer."""
        began_s = monotonic_s()
        # At 1,000,000 streams it takes seconds, in which SQLite without WAL holds up commits.
        if last is not None and began_s - last.at_s < last.took_s * _SHARE:
            self._store.pipelines()
            return last
        sample = read(self._store, pipelines=self._pipelines, worst=self._worst)
        return _Taken(sample, monotonic_s(), monotonic_s() - began_s)


OWN_METRICS = (
    Metric(
        "belaypin_up",
        "gauge",
        (),
        "1: the store answers. 0: it can't be read, or has been silent for 30 s; what else there "
        "is comes from the last sample.",
        lambda _: iter(()),
    ),
    Metric(
        "belaypin_sample_age_seconds",
        "gauge",
        (),
        "How old the sample is that these figures come from.",
        lambda _: iter(()),
    ),
    Metric(
        "belaypin_sample_duration_seconds",
        "gauge",
        (),
        "How long the sample took.",
        lambda _: iter(()),
    ),
)
"""About the sample itself."""


def _family(metric: Metric, figures: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in figures:
        family.add_metric(labels, value)
    return family
