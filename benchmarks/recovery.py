"""What a plan and a status cost in a large store in which little is open."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import belaypin
from benchmarks.databases import Database, Server
from benchmarks.figures import Figure, Spent, Stopwatch, say

__all__ = ["measure"]

_RUNS = 5
_ONE_IN = 100
_BATCH = 100_000
_AIM_MS = 1_000.0

_WINDOW = (
    '{"main":{"start_us":1700000000000000,"end_us":1700086400000000,"is_head":true,'
    '"covered_to_us":1700000000000000,"cursor":3}}'
)

# Each entity has its own row, a stream that is covered, and a lease. Of those that are open, a third
# was left, a third has lost its worker, and a third has failed.
_FILL = (
    "INSERT INTO belaypin_checkpoint (pipeline, entity, stream, commits, items, attempts, runs, busy_us,"
    " failed_runs, failed_us, failed_role, error, next_try_us, created_us, updated_us)"
    " SELECT 'social', 'user:' || i, '', 0, 0, 3, 2, 900000 + i,"
    "  CASE WHEN {open} AND i % 3 = 0 THEN 1 ELSE 0 END,"
    "  CASE WHEN {open} AND i % 3 = 0 THEN 1700000000000000 END,"
    "  CASE WHEN {open} AND i % 3 = 0 THEN 'main' END,"
    "  CASE WHEN {open} AND i % 3 = 0 THEN 'OSError: the source hung up' END,"
    "  CASE WHEN {open} AND i % 3 = 0 THEN 1700000000000000 END, 1700000000000000, 1700000000000000"
    " FROM {n}",
    "INSERT INTO belaypin_checkpoint (pipeline, entity, stream, commits, commit_id, head_seq, progress,"
    " is_open, items, created_us, updated_us)"
    " SELECT 'social', 'user:' || i, 'posts', 9, '0123456789abcdef0123456789abcdef', 9,"
    "  CASE WHEN {open} THEN '{window}' ELSE '{{}}' END, CASE WHEN {open} THEN 1 ELSE 0 END, 900,"
    "  1700000000000000, 1700000000000000"
    " FROM {n}",
    "INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us)"
    " SELECT key_id, 1, 1600000000000000, 1700000000000000 + key_id"
    " FROM belaypin_checkpoint WHERE stream = 'posts' AND key_id > {last_id}",
    "INSERT INTO belaypin_lease (key_id, role, owner, token, ttl_us, acquired_us, renewed_us, expires_us)"
    " SELECT key_id, 'main', 'another machine', 1700000000000000, 30000000, 1700000000000000,"
    "  1700000000000000, CASE WHEN failed_us IS NULL AND (key_id % ({one_in} * 2)) = 1"
    "  THEN 1700000030000000 ELSE 0 END"
    " FROM belaypin_checkpoint WHERE stream = '' AND key_id > {last_id}",
)


def measure(server: Server, entities: int) -> list[Figure]:
    """The time of a plan and of a status."""
    with server.fresh() as database, belaypin.open(database.url) as store:
        say(f"recovery: {server.name}, {entities:,} entities")
        _fill(store, database, entities)
        plans = [_spent(store.plan) for _ in range(_RUNS)]
        statuses = [_spent(lambda: store.status("social")) for _ in range(2)]
        say(str(store.plan(limit=3)))
    name = f"{server.name}, {entities:,} entities, {entities // _ONE_IN:,} open"
    return [
        _figure(f"{name}: plan", plans, at_most=_AIM_MS),
        _figure(f"{name}: status of the pipeline", statuses),
    ]


def _fill(store: belaypin.Store, database: Database, entities: int) -> None:
    last_id = 0
    for first in range(1, entities + 1, _BATCH):
        last = min(entities, first + _BATCH - 1)
        n = (
            f"(WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
            f" SELECT i FROM n) AS n"
        )
        is_open = f"i % {_ONE_IN} = 0"
        for sql in _FILL:
            parts = {"n": n, "open": is_open, "window": _WINDOW, "one_in": _ONE_IN}
            store.execute(sql.format(**parts, last_id=last_id))
        last_id = store.execute("SELECT MAX(key_id) FROM belaypin_checkpoint").rows[0][0]
    database.vacuum()
    store.execute("ANALYZE")  # as both databases do by themselves in time


def _spent(act: Callable[[], object]) -> Spent:
    with Stopwatch() as watch:
        act()
    return watch.spent


def _figure(name: str, samples: Sequence[Spent], *, at_most: float | None = None) -> Figure:
    wall_ms = [spent.wall_s * 1000 for spent in samples]
    cpu_ms = [spent.cpu_s * 1000 for spent in samples]
    return Figure.of("recovery", name, "ms", wall_ms, cpu=cpu_ms, at_most=at_most)
