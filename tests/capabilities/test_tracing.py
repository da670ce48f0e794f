"""Tracing: what a lease does, as the spans that the real SDK of OpenTelemetry exports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, Tracer

import belaypin
from tests.capabilities.sites import Colour, Database, Site

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "trace-with-opentelemetry.md"
KEY = {"belaypin.pipeline": "shop", "belaypin.entity": "user:7"}
ORDERS = {**KEY, "belaypin.stream": "orders"}


@pytest.fixture(params=[("sync", "memory"), ("async", "memory"), ("async", "postgres")], ids=str)
def kind(request: pytest.FixtureRequest) -> tuple[Colour, Database]:
    """Spans know nothing of databases; those of asyncio have to find their context again."""
    kind: tuple[Colour, Database] = request.param
    return kind


@pytest.fixture
def colour(kind: tuple[Colour, Database]) -> Colour:
    return kind[0]


@pytest.fixture
def database(kind: tuple[Colour, Database]) -> Database:
    return kind[1]


class Traced:
    """A tracer, and the spans that have ended, oldest first."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = self._provider.get_tracer("test")

    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == name]

    def parent(self, span: ReadableSpan) -> str | None:
        parent = span.parent
        if parent is None:
            return None
        (found,) = [s for s in self.spans() if s.context.span_id == parent.span_id]
        return found.name

    def close(self) -> None:
        self._provider.shutdown()


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    yield traced
    traced.close()


def fetcher(pages: list[list[int]], traced: Traced | None = None) -> Any:
    def fetch(cursor: Any) -> tuple[list[dict[str, int]], int | None]:
        at = cursor or 0
        if traced is not None:
            with traced.tracer.start_as_current_span("GET"):  # as an HTTP client does
                pass
        return [{"id": n} for n in pages[at]], at + 1 if at + 1 < len(pages) else None

    return fetch


async def mine(store: Any, pages: list[list[int]], traced: Traced | None = None) -> None:
    await mine_with(store, fetcher(pages, traced))


def in_sync(fetch: Any) -> Any:
    """``fetch`` for a store whose methods are awaited, and do not wait."""

    def fetch_now(cursor: Any) -> Any:
        try:
            fetch(cursor).send(None)
        except StopIteration as stop:
            return stop.value

    return fetch_now


async def mine_with(store: Any, fetch: Any) -> None:
    async with store.lease("shop", "user:7") as lease:
        async for window in lease.windows("orders", since="1d", overlap="1d"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")


async def test_a_lease_its_windows_pages_and_commits_are_spans(site: Site, traced: Traced) -> None:
    store = await site.open(tracer=traced.tracer)
    with traced.tracer.start_as_current_span("job"):
        await mine(store, [[1, 2], [2, 3]], traced)
    spans = [(span.name, traced.parent(span)) for span in traced.spans()]
    page = [("GET", "belaypin.page"), ("belaypin.commit", "belaypin.page")]
    page.append(("belaypin.page", "belaypin.window"))
    assert spans == [
        *page,
        *page,
        ("belaypin.window", "belaypin.lease"),
        ("belaypin.lease", "job"),
        ("job", None),
    ]
    assert {span.status.status_code for span in traced.spans()} == {StatusCode.UNSET}


async def test_attributes_say_what_it_was_about(site: Site, traced: Traced) -> None:
    store = await site.open(tracer=traced.tracer)
    await mine(store, [[1, 2], [2, 3]])
    first, second = (dict(s.attributes or {}) for s in traced.named("belaypin.commit"))
    rest = {"belaypin.changed": 0, "belaypin.late": 0, "belaypin.failed": 0}
    rest["belaypin.joined"] = False
    assert first == {**ORDERS, "belaypin.new": 2, "belaypin.skipped": 0, **rest}
    assert second == {**ORDERS, "belaypin.new": 1, "belaypin.skipped": 1, **rest}
    pages = [dict(span.attributes or {}) for span in traced.named("belaypin.page")]
    assert pages == [
        {**ORDERS, "belaypin.items": 2, "belaypin.is_last": last} for last in (False, True)
    ]
    (window,) = traced.named("belaypin.window")
    assert (
        dict(window.attributes or {}).items()
        >= {
            **ORDERS,
            "belaypin.resumed": False,
            "belaypin.is_retry": False,
        }.items()
    )
    (lease,) = traced.named("belaypin.lease")
    attributes = dict(lease.attributes or {})
    assert attributes.pop("belaypin.token", 0)
    assert attributes == {**KEY, "belaypin.role": "main"}


async def test_every_attribute_is_explained(site: Site, traced: Traced) -> None:
    store = await site.open(tracer=traced.tracer)
    await mine(store, [[1]])
    async with store.lease("shop", "user:7") as lease, lease.changed("profile", {"a": 1}) as change:
        assert change
    page = PAGE.read_text(encoding="utf-8")
    names = {span.name for span in traced.spans()}
    names |= {name for span in traced.spans() for name in span.attributes or {}}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


async def test_a_lease_that_is_held_is_a_span_that_failed(site: Site, traced: Traced) -> None:
    store = await site.open(tracer=traced.tracer)
    async with store.lease("shop", "user:7"):
        with pytest.raises(belaypin.LeaseHeld):
            async with store.lease("shop", "user:7"):
                pass
    refused, held = traced.named("belaypin.lease")
    assert failure(refused) == "LeaseHeld"
    assert "belaypin.token" not in (refused.attributes or {})
    assert failure(held) is None


async def test_a_fenced_commit_is_a_span_that_failed(site: Site, traced: Traced) -> None:
    store = await site.open(tracer=traced.tracer)

    async def fetch(cursor: Any) -> Any:
        await store.execute("UPDATE belaypin_lease SET token = token + 1")  # another took over
        return [{"id": 1}], None

    with pytest.raises(belaypin.Fenced):
        await mine_with(store, fetch if site.colour == "async" else in_sync(fetch))
    (commit,) = traced.named("belaypin.commit")
    assert failure(commit) == "Fenced"
    assert [event.name for event in commit.events] == ["exception"]
    assert failure(traced.named("belaypin.lease")[0]) == "Fenced"
    assert len(traced.named("belaypin.page")) == len(traced.named("belaypin.window")) == 1


async def test_a_fetch_and_a_block_that_raise_are_spans_that_failed(
    site: Site, traced: Traced
) -> None:
    store = await site.open(tracer=traced.tracer)

    def fetch(cursor: Any) -> Any:
        raise ConnectionError("429")

    with pytest.raises(ConnectionError):
        await mine_with(store, fetch)
    with pytest.raises(belaypin.UsageError):  # an item without an id, in the block
        await mine_with(store, lambda cursor: ([{}], None))
    assert [failure(s) for s in traced.named("belaypin.page")] == ["ConnectionError", None]
    assert [failure(s) for s in traced.named("belaypin.commit")] == ["UsageError"]
    leases = [failure(span) for span in traced.named("belaypin.lease")]
    assert leases == ["ConnectionError", "UsageError"]


async def test_a_loop_that_is_left_half_way_has_ended_with_its_lease(
    site: Site, traced: Traced
) -> None:
    store = await site.open(tracer=traced.tracer)
    async with store.lease("shop", "user:7") as lease:
        windows = lease.windows("orders", since="1d")  # kept, so that nobody closes it
        async for window in windows:
            pages = window.pages(fetcher([[1], [2]]))
            async for page in pages:
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
                break
            break
    assert [span.name for span in traced.spans()] == [
        "belaypin.commit",
        "belaypin.page",
        "belaypin.window",
        "belaypin.lease",
    ]
    assert [failure(span) for span in traced.spans()] == [None] * 4


async def test_live_batches_and_changed_content_are_commits(site: Site, traced: Traced) -> None:
    store = await site.open(tracer=traced.tracer)
    async with store.lease("shop", "user:7") as lease:
        async with lease.live("orders", at="at") as live:
            batch = live.batch([{"id": 1, "at": "2024-01-01T00:00:00Z"}])
            async with batch.commit() as tx:
                await tx.fresh(batch.items, key="id")
        for content in ({"name": "Ada"}, {"name": "Ada"}):
            async with lease.changed("profile", content):
                pass
    commits = traced.named("belaypin.commit")
    assert [traced.parent(span) for span in commits] == ["belaypin.lease"] * 3
    kinds = [(span.attributes or {}).get("belaypin.content") for span in commits]
    assert kinds == [None, "new", "unchanged"]


async def test_a_tracer_of_another_kind_is_refused(site: Site) -> None:
    with pytest.raises(belaypin.UsageError, match="get_tracer"):
        await site.open(tracer=TracerProvider())  # type: ignore[arg-type]


def test_without_a_tracer_opentelemetry_is_not_even_imported() -> None:
    code = (
        "import belaypin, sys\n"
        "store = belaypin.open('sqlite:///:memory:')\n"
        "with store.lease('shop', 'user:7') as lease:\n"
        "    for window in lease.windows('orders', since='1d'):\n"
        "        for page in window.pages(lambda cursor: ([1], None)):\n"
        "            with page.commit() as tx:\n"
        "                tx.fresh(page.items, key=lambda n: n)\n"
        "print('opentelemetry' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def failure(span: ReadableSpan) -> str | None:
    """The class of what it failed by; it must say so in each place that a backend looks at."""
    kind = (span.attributes or {}).get("error.type")
    exceptions = [e for e in span.events if e.name == "exception"]
    assert (kind is None) is (span.status.status_code is not StatusCode.ERROR)
    assert len(exceptions) == (kind is not None)
    return None if kind is None else str(kind)
