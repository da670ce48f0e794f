"""Every metric: its name, its labels, what it means, and where its figures come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Literal, NamedTuple

from belaypin import Health
from belaypin.metrics.sample import Sample

__all__ = ["METRICS", "Metric"]

Figure = tuple[tuple[str, ...], float]


class Metric(NamedTuple):
    """One family of figures. Its unit is the last word of its name, if that is one."""

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    help: str
    read: Callable[[Sample], Iterator[Figure]]

    @property
    def unit(self) -> str:
        """The unit after Prometheus's conventions: base units, in the plural."""
        last = self.name.removesuffix("_total").rsplit("_", 1)[-1]
        return last if last in ("seconds", "bytes") else ""


def _of_pipelines(read: Callable[[Health], float | None]) -> Callable[[Sample], Iterator[Figure]]:
    def figures(sample: Sample) -> Iterator[Figure]:
        for name, health in sample.pipelines:
            value = read(health)
            if value is not None:
                yield (name,), value

    return figures


def _split(
    **reads: Callable[[Health], float | None],
) -> Callable[[Sample], Iterator[Figure]]:
    """Figures of pipelines with a second label, whose values are the names given."""

    def figures(sample: Sample) -> Iterator[Figure]:
        for word, read in reads.items():
            for (name,), value in _of_pipelines(read)(sample):
                yield (name, word), value

    return figures


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _lags(sample: Sample) -> Iterator[Figure]:
    for name, health in sample.pipelines:
        lags = {"0.5": health.lag_p50, "0.9": health.lag_p90, "0.99": health.lag_p99}
        for quantile, lag in lags.items():
            if lag is not None:
                yield (name, quantile), lag.total_seconds()


def _worst(sample: Sample) -> Iterator[Figure]:
    for row in sample.worst:
        if row.lag is not None:
            yield row.key.parts, row.lag.total_seconds()


def _operations(sample: Sample) -> Iterator[Figure]:
    yield ("running",), sample.whole.running_operations
    yield ("abandoned",), sample.whole.abandoned_operations
    yield ("failed",), sample.whole.failed_operations


_ONE = ("pipeline",)

METRICS = (
    Metric(
        "belaypin_pipelines",
        "gauge",
        (),
        "Pipelines in the store; only so many as are exported have figures of their own.",
        lambda sample: iter([((), sample.total)]),
    ),
    Metric(
        "belaypin_streams",
        "gauge",
        _ONE,
        "Streams that the pipeline has.",
        _of_pipelines(lambda health: health.streams),
    ),
    Metric(
        "belaypin_lag_seconds",
        "gauge",
        _ONE,
        "How far the head of the stream that is furthest behind lies behind the database's clock.",
        _of_pipelines(lambda health: _seconds(health.lag)),
    ),
    Metric(
        "belaypin_lag_quantile_seconds",
        "gauge",
        ("pipeline", "quantile"),
        "Of all streams that are not complete, this part lags at most so much (nearest rank).",
        _lags,
    ),
    Metric(
        "belaypin_stream_lag_seconds",
        "gauge",
        ("pipeline", "entity", "stream"),
        "Lag of the streams that are furthest behind in the whole store; the others are left out.",
        _worst,
    ),
    Metric(
        "belaypin_gaps",
        "gauge",
        _ONE,
        "Holes in the coverage of all streams.",
        _of_pipelines(lambda health: health.gaps),
    ),
    Metric(
        "belaypin_items_total",
        "counter",
        ("pipeline", "outcome"),
        "Items that were fetched: new, changed (processed again), skipped (known already), or "
        "too_late (below the replay horizon, not processed). A rewind or reset may lower it.",
        _split(
            new=lambda health: health.items,
            changed=lambda health: health.changed,
            skipped=lambda health: health.skipped,
            too_late=lambda health: health.too_late,
        ),
    ),
    Metric(
        "belaypin_late_items_total",
        "counter",
        _ONE,
        "Items that came when their time was covered already, and were processed all the same.",
        _of_pipelines(lambda health: health.late),
    ),
    Metric(
        "belaypin_failed_items",
        "gauge",
        ("pipeline", "state"),
        "Items that were put aside: waiting for another try, or quarantined for a person.",
        _split(
            waiting=lambda health: health.failures, quarantined=lambda health: health.quarantined
        ),
    ),
    Metric(
        "belaypin_failed_entities",
        "gauge",
        ("pipeline", "state"),
        "Entities whose last run failed, or that are quarantined: plans leave them alone.",
        _split(
            failed=lambda health: health.failed_entities,
            quarantined=lambda health: health.quarantined_entities,
        ),
    ),
    Metric(
        "belaypin_live_leases",
        "gauge",
        _ONE,
        "Leases that are held.",
        _of_pipelines(lambda health: health.live_leases),
    ),
    Metric(
        "belaypin_windows",
        "gauge",
        ("pipeline", "state"),
        "Windows that were begun and are not done: open, or interrupted (an orphan: nobody holds a "
        "lease on the entity).",
        _split(
            open=lambda health: health.open_windows - health.interrupted_windows,
            interrupted=lambda health: health.interrupted_windows,
        ),
    ),
    Metric(
        "belaypin_operations",
        "gauge",
        ("state",),
        "Operations of the store that are not done: running, abandoned (an orphan: its worker's "
        "time is over), or failed.",
        _operations,
    ),
    Metric(
        "belaypin_recovery_estimate_seconds",
        "gauge",
        _ONE,
        "Upper bound of how long it takes, if every worker died now, until the work stands here again.",
        _of_pipelines(lambda health: health.recovery.total_seconds()),
    ),
    Metric(
        "belaypin_drill_recovery_seconds",
        "gauge",
        _ONE,
        "Measured by the newest drill: from the start of a process to its first new commit (p99).",
        _of_pipelines(lambda health: _seconds(health.drilled_recovery)),
    ),
    Metric(
        "belaypin_drill_kills",
        "gauge",
        _ONE,
        "Kills of the newest drill.",
        _of_pipelines(lambda health: health.drilled_kills or None),
    ),
    Metric(
        "belaypin_drill_rows",
        "gauge",
        ("pipeline", "state"),
        "Rows, ids and spans that the newest drill has lost or doubled.",
        _split(
            lost=lambda health: health.drilled_lost if health.drilled_at else None,
            doubled=lambda health: health.drilled_doubled if health.drilled_at else None,
        ),
    ),
    Metric(
        "belaypin_drill_timestamp_seconds",
        "gauge",
        _ONE,
        "When the newest drill ended, since 1970-01-01 UTC.",
        _of_pipelines(lambda health: health.drilled_at.timestamp() if health.drilled_at else None),
    ),
    Metric(
        "belaypin_payload_bytes",
        "gauge",
        ("pipeline", "kind"),
        "Payloads as they are stored, without the database's own pages: ledger, or state.",
        _split(ledger=lambda health: health.ledger_bytes, state=lambda health: health.state_bytes),
    ),
    Metric(
        "belaypin_ledger_raw_bytes",
        "gauge",
        _ONE,
        "The ledger before compression.",
        _of_pipelines(lambda health: health.ledger_raw_bytes),
    ),
    Metric(
        "belaypin_segments",
        "gauge",
        _ONE,
        "Segments of the ledger; store.compact() makes them fewer.",
        _of_pipelines(lambda health: health.segments),
    ),
)
"""What a sample of the store has. The exporter adds those about the sample itself."""
