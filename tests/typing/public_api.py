"""What type checkers see of the public API: read by mypy --strict, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type

import opentelemetry.trace

import belaypin
from belaypin.sinks import FilesReport, JsonLines, Recovered, SinkFile


@dataclass
class Progress:
    pages: int = 0


def insert(tx: belaypin.Work, post_id: int) -> None:
    """One function for the transaction of a page, of a change and of an operation."""
    assert_type(tx.execute("INSERT INTO posts VALUES (?)", (post_id,)), belaypin.Result)


def opening(clock: belaypin.Clock) -> None:
    assert_type(belaypin.open("sqlite:///app.db"), belaypin.Store)
    assert_type(belaypin.open("sqlite:///app.db", clock=clock, ledger_items=10), belaypin.Store)
    assert_type(belaypin.open("sqlite:///app.db", cache="redis://host"), belaypin.Store)
    tracer = opentelemetry.trace.get_tracer("app")
    assert_type(belaypin.open("sqlite:///app.db", tracer=tracer), belaypin.Store)
    with belaypin.open("sqlite:///app.db") as store:
        assert_type(store, belaypin.Store)


def writers(store: belaypin.Store) -> None:
    with store.writer(durability="async", max_items=10, max_delay_s="2s") as writer:
        assert_type(writer, belaypin.Writer)
        assert_type(writer.save(("shop", "user:7"), Progress()), int | None)
        assert_type(writer.bound, belaypin.LossBound)
        assert_type(writer.flush(), belaypin.WriterReport)
        assert_type(writer.report.failures, tuple[belaypin.WriterFailure, ...])


async def async_writers(store: belaypin.AsyncStore) -> None:
    async with store.writer(drain_on_sigterm=True) as writer:
        assert_type(writer, belaypin.AsyncWriter)
        assert_type(await writer.save("shop", {}), int | None)
        assert_type(await writer.flush(), belaypin.WriterReport)


def loop(store: belaypin.Store) -> None:
    with store.lease("social", "user:7", role="main", ttl_s=30, wait_s="1m") as lease:
        assert_type(lease, belaypin.Lease)
        assert_type(lease.token, int)
        windows = lease.windows("posts", since=timedelta(days=30), overlap="1h", at="created_at")
        assert_type(windows, Iterator[belaypin.Window])
        for window in windows:
            assert_type(window.start, datetime)
            assert_type(window.resumed, bool)
            for page in window.pages(lambda cursor: ([{"id": 1}], None)):
                assert_type(page, belaypin.Page)
                assert_type(page.items, list[Any])
                with page.commit() as tx:
                    assert_type(tx, belaypin.Commit)
                    for post in tx.fresh(page.items, key=lambda post: post["id"], content=["text"]):
                        assert_type(tx.kind(post), str)
                        assert_type(tx.idempotency_key(post), str)
                        insert(tx, post["id"])
                        with tx.attempt(post, payload={"id": 1}) as trial:
                            assert_type(trial, belaypin.Trial)
                        assert_type(trial.failed, bool)
                        assert_type(trial.error, Exception | None)
                    assert_type(tx.failed, list[Any])


def failing(store: belaypin.Store, lease: belaypin.Lease) -> None:
    policy = belaypin.Retry(max_attempts=3, backoff="1s", retry_on=(OSError,), isolate_after=None)
    assert_type(policy.delay_us(1, chance=0.5), int | None)
    for window in lease.windows("posts", since="30d", retry=policy):
        assert_type(window.is_retry, bool)
    assert_type(store.failures("social", status="waiting"), list[belaypin.Failure])
    assert_type(store.failure(7), belaypin.Failure | None)
    assert_type(store.replay("social", error="OSError"), int)
    assert_type(store.skip(failure_id=7, item_id="post-1"), int)
    assert_type(store.quarantine(("social", "user:7", "posts"), 7, "why"), int)


def changes(lease: belaypin.Lease) -> None:
    lease.changed("profile", {}, revision="2024-01-01T00:00:00Z", processor=2)
    with lease.changed("profile", {"name": "Ada"}, ignore=["at"]) as change:
        assert_type(change, belaypin.Change)
        if change:
            insert(change.tx, 7)


def live(lease: belaypin.Lease) -> None:
    with lease.live("posts", at=lambda post: datetime.fromisoformat(post["at"])) as listening:
        assert_type(listening, belaypin.Live)
        assert_type(listening.batch([{"id": 1}]), belaypin.Batch)
        for batch in listening.batches([[{"id": 1}], []]):
            with batch.commit() as tx:
                assert_type(tx, belaypin.Commit)


def sinks(store: belaypin.Store, page: belaypin.Page) -> None:
    sink = JsonLines("out", name="posts")
    with page.commit() as tx:
        sink.write(tx, {"id": 1})
    assert_type(sink.recover(store), Recovered)
    assert_type(sink.files(store), list[SinkFile])
    assert_type(sink.verify(store), FilesReport)


async def async_sinks(store: belaypin.AsyncStore, page: belaypin.AsyncPage) -> None:
    sink = JsonLines("out", name="posts")
    async with page.commit() as tx:
        sink.write(tx, {"id": 1})
    assert_type(await sink.recover(store), Recovered)
    assert_type(await sink.files(store), list[SinkFile])
    assert_type(await sink.verify(store), FilesReport)


def dictionaries(store: belaypin.Store) -> None:
    report = store.train_dictionary("social", "profile", sample=100, dry_run=True)
    assert_type(report, belaypin.DictionaryReport)
    assert_type(report.ratio, float)


def operations(store: belaypin.Store) -> None:
    with store.once("invoice:7", request={"total": 5}) as op:
        assert_type(op, belaypin.Once)
        assert_type(op.attempt, int)
        if op:
            insert(op.tx, 7)
            assert_type(op.tx.send("mail", {"to": 7}, key="invoice:7"), bool)
            op.result = {"lines": 3}
        assert_type(op.result_expired, bool)
    operation = store.operation("invoice:7")
    assert_type(operation, belaypin.Operation | None)
    if operation is not None:
        assert_type(operation.duration, timedelta)
        assert_type(operation.attempts, tuple[belaypin.Attempt, ...])
        assert_type(operation.attempts[0].duration, timedelta | None)
    assert_type(store.drop_expired_results(), int)

    @store.idempotent("charge:{invoice}", result_ttl="30d", request=False)
    def charge(invoice: int, *, op: belaypin.Once | None = None) -> str:
        return f"receipt {invoice}"

    assert_type(charge(7), str)
    charge("7")  # type: ignore[arg-type]


def messages(store: belaypin.Store) -> None:
    def handler(message: belaypin.Message) -> None:
        assert_type(message.key, str)
        assert_type(message.attempt, int)

    retry = belaypin.Retry(max_attempts=3, backoff="1s")
    assert_type(store.deliver("mail", handler, retry=retry, wait_s="1m"), belaypin.Delivery)
    assert_type(store.undelivered("mail"), list[belaypin.Message])
    assert_type(store.redeliver("mail", "invoice:7"), bool)
    assert_type(store.drop_delivered(older_than="30d"), int)
    assert_type(store.send("mail", {"to": 7}, key="invoice:8"), bool)


def recovery(store: belaypin.Store) -> None:
    def work(lease: belaypin.Lease, step: belaypin.Step) -> None:
        assert_type(step.key, belaypin.Key | None)

    plan = store.plan("social", limit=10, deaths=3, findings=store.verify())
    assert_type(plan, belaypin.Plan)
    assert_type(plan.estimate, timedelta | None)
    report = store.recover(work, plan, limit=5, retry=belaypin.Retry(backoff="1s"))
    assert_type(report, belaypin.RecoveryReport)
    assert_type(report.outcomes, tuple[belaypin.Outcome, ...])
    assert_type(store.status(("social", "user:7")), belaypin.Status)
    store.prioritise(("social", "user:7"), 3)
    assert_type(store.readmit(("social", "user:7")), bool)


def records(store: belaypin.Store) -> None:
    key = belaypin.Key("social", "user:7", "posts")
    assert_type(store.save(key, Progress(), expected_version=0), int)
    assert_type(store.save(("social", "user:7"), {"pages": 3}), int)
    assert_type(store.load(key, type=Progress), belaypin.Checkpoint[Progress] | None)
    assert_type(store.load(key, Progress), belaypin.Checkpoint[Progress] | None)
    assert_type(store.load("social"), belaypin.Checkpoint[Any] | None)
    loaded = store.load(key, Progress)
    if loaded is not None:
        assert_type(loaded.state.pages, int)
        assert_type(loaded.version, int)
    assert_type(store.seen(key, [1, 2]), set[Any])
    assert_type(store.gaps(key), list[belaypin.Interval])
    assert_type(store.coverage(key), list[belaypin.Interval])
    assert_type(store.lag(key), timedelta | None)


def travel(store: belaypin.Store, since: datetime, until: datetime) -> None:
    key = ("social", "user:7")
    assert_type(store.history(key, limit=5), list[belaypin.Version])
    assert_type(store.diff(key, 1, 2), list[belaypin.Difference])
    assert_type(store.load(key, Progress, version=1), belaypin.Checkpoint[Progress] | None)
    assert_type(store.repair(key), int | None)
    assert_type(store.savepoint(key, "before v2", note="new parser"), belaypin.Savepoint)
    assert_type(store.savepoints(), list[belaypin.Savepoint])
    rewound = store.rewind(key, to="before v2", dry_run=True)
    assert_type(rewound, belaypin.Rewound)
    assert_type(rewound.streams, tuple[belaypin.RewoundStream, ...])
    assert_type(store.rewind(key, to=3, force=True), belaypin.Rewound)
    assert_type(store.reset(key), belaypin.Rewound)
    assert_type(store.reopen(key, since, until), belaypin.Rewound)
    assert_type(store.fork(key, ("social", "trial")), belaypin.Forked)


def housekeeping(store: belaypin.Store) -> None:
    report = store.gc(belaypin.Retention(audit="90d", samples_daily=None), limit=100)
    assert_type(report, belaypin.GcReport)
    assert_type(report.of("segments"), belaypin.Dropped)
    assert_type(report.left, tuple[str, ...])
    assert_type(store.compact(("social", "user:7"), shrink=True), belaypin.CompactReport)
    assert_type(store.record_health(every="5m"), belaypin.Health | None)
    assert_type(store.health_history("7d"), list[belaypin.Health])


def joined(store: belaypin.Store, page: belaypin.Page, connection: Any) -> None:
    with store.joined(connection) as part:
        assert_type(part, belaypin.Joined)
        assert_type(part.save("social", {}), int)
    with page.commit(store.joined(connection)) as tx:
        assert_type(tx, belaypin.Commit)


def results(store: belaypin.Store) -> None:
    result = store.execute("SELECT 1")
    assert_type(result.rows, list[tuple[Any, ...]])
    assert_type(result.fetchone(), tuple[Any, ...] | None)
    for row in result:
        assert_type(row, tuple[Any, ...])


async def asynchronous(lease: belaypin.AsyncLease) -> None:
    async with await belaypin.aopen("sqlite:///app.db") as store:
        assert_type(store, belaypin.AsyncStore)
        assert_type(await store.load("social", type=Progress), belaypin.Checkpoint[Progress] | None)
        assert_type(await store.lag("social"), timedelta | None)
    windows = lease.windows("posts", since="30d")
    assert_type(windows, AsyncIterator[belaypin.AsyncWindow])
    async for window in windows:
        async for page in window.pages(fetch):
            async with page.commit() as tx:
                assert_type(tx, belaypin.AsyncCommit)
                assert_type(await tx.fresh(page.items, key="id"), list[Any])
                async with tx.attempt(page.items[0]) as trial:
                    assert_type(trial, belaypin.AsyncTrial)


async def asynchronous_operations(store: belaypin.AsyncStore) -> None:
    @store.idempotent("charge:{invoice}")
    async def charge(invoice: int) -> str:
        return f"receipt {invoice}"

    assert_type(await charge(7), str)
    assert_type(await store.operation("charge:7"), belaypin.Operation | None)
    async with store.once("invoice:7") as op:
        assert_type(await op.tx.send("mail", {"to": 7}, key="invoice:7"), bool)


async def fetch(cursor: Any) -> tuple[list[dict[str, int]], None]:
    return [{"id": 1}], None


def refused(store: belaypin.Store, lease: belaypin.Lease) -> None:
    """Each ignore is needed, or mypy complains: the call is refused."""
    lease.windows("posts")  # type: ignore[call-arg]
    lease.windows("posts", "30d")  # type: ignore[call-arg]
    store.lease("social", "user:7", "backfill")  # type: ignore[call-arg]
    store.save("social", {}, 3)  # type: ignore[call-arg, arg-type]
    store.load(7)  # type: ignore[call-overload]
    belaypin.opne("sqlite:///app.db")  # type: ignore[attr-defined]
