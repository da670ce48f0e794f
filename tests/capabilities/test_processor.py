"""The processor's version: a fix runs over everything again, and old code can write nothing more."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest

import belaypin
from belaypin import Fenced, SchemaTooNew, UsageError
from tests.capabilities.fewer import colour, database, pair  # noqa: F401 -- fixtures
from tests.capabilities.sites import Site

KEY = ("shop", "user:7", "posts")
PAGES = 3
PER_PAGE = 2
ALL = PAGES * PER_PAGE


def fetch(cursor: Any) -> tuple[list[dict[str, int]], Any]:
    page = cursor or 0
    items = [{"id": page * PER_PAGE + n} for n in range(PER_PAGE)]
    return items, page + 1 if page + 1 < PAGES else None


async def opened(site: Site) -> Any:
    store = await site.open()
    await store.execute(
        "CREATE TABLE IF NOT EXISTS effect (id INTEGER PRIMARY KEY, by_version INTEGER)"
    )
    return store


async def run(
    site: Site, store: Any, version: int, *, stop_after: int | None = None, **options: Any
) -> int:
    """Process the stream under this version; how many items were fresh."""
    found, commits = 0, 0
    async with store.lease("shop", "user:7", **options) as lease:
        async for window in lease.windows("posts", since="1d", processor=version):
            async for page in window.pages(fetch):
                found += await commit(site, page, version)
                commits += 1
                if commits == stop_after:
                    return found
    return found


async def commit(site: Site, page: Any, version: int) -> int:
    mark = "%s" if site.url.startswith("postgresql") else "?"
    upsert = (
        f"INSERT INTO effect VALUES ({mark}, {mark}) "
        f"ON CONFLICT (id) DO UPDATE SET by_version = excluded.by_version"
    )
    async with page.commit() as tx:
        fresh = await tx.fresh(page.items, key="id")
        for item in fresh:
            await tx.execute(upsert, (item["id"], version))
    return len(fresh)


async def effects(site: Site) -> list[tuple[int, int]]:
    rows = await site.query("SELECT by_version, count(*) FROM effect GROUP BY 1 ORDER BY 1")
    return [(version, count) for version, count in rows]


async def test_a_newer_processor_runs_over_everything_again_once(site: Site) -> None:
    # In the article a bug fix never re-runs, as no version is in the identity.
    store = await opened(site)
    assert [await run(site, store, v) for v in (0, 0, 1, 1, 3, 3)] == [ALL, 0, ALL, 0, ALL, 0]
    assert await effects(site) == [(3, ALL)]
    found = await store.load(KEY)
    assert (found.items, found.processor) == (ALL, 3)
    assert await store.seen(KEY, range(9)) == {*range(ALL)}
    assert len(await store.coverage(KEY)) == 1
    assert (await store.verify()).ok


async def test_it_resumes_where_it_stood_and_the_old_version_does_not(site: Site) -> None:
    store = await opened(site)
    assert await run(site, store, 1, stop_after=2) == 4
    assert await run(site, store, 2, stop_after=1) == 2
    assert await store.seen(KEY, range(9)) == {0, 1}
    with pytest.raises(SchemaTooNew, match=r"version 2 .* version 1.*processor=2"):
        await run(site, store, 1)
    assert await run(site, store, 2) == ALL - 2
    assert await effects(site) == [(2, ALL)]


async def test_nothing_changes_before_the_first_commit(site: Site) -> None:
    store = await opened(site)
    await run(site, store, 1)
    async with store.lease("shop", "user:7") as lease:
        async for window in lease.windows("posts", since="1d", processor=2):
            async for page in window.pages(fetch):
                with pytest.raises(ZeroDivisionError):
                    await undone(page)
                break
            break
    assert await store.seen(KEY, range(9)) == {*range(ALL)}
    assert (await store.load(KEY)).processor == 1
    assert await run(site, store, 1) == 0
    assert await store.audit() == []


async def test_old_code_at_work_is_refused_at_its_next_write(site: Site) -> None:
    store = await opened(site)
    async with store.lease("shop", "user:7", role="old") as lease:
        async for window in lease.windows("posts", since="1d", processor=1):
            assert await commit(site, await next_page(window), 1) == PER_PAGE
            assert await run(site, store, 2, stop_after=2) == 4
            refused = await next_page(window)
            with pytest.raises((SchemaTooNew, Fenced)):
                await commit(site, refused, 1)
            break
        with pytest.raises(SchemaTooNew):
            async with lease.live("posts", at="at", processor=1):
                pass
        with pytest.raises(SchemaTooNew):
            async with lease.live("posts", at="at"):
                pass
    assert await effects(site) == [(2, 4)]


async def next_page(window: Any) -> Any:
    pages = [page async for page in first(window.pages(fetch))]
    return pages.pop()


async def first(pages: Any) -> Any:
    async for page in pages:
        yield page
        return


async def undone(page: Any) -> None:
    async with page.commit() as tx:
        await tx.fresh(page.items, key="id")
        raise ZeroDivisionError


async def walk(windows: Any) -> None:
    async for _ in windows:
        pass


async def test_equal_versions_share_one_generation(site: Site) -> None:
    store = await opened(site)
    await run(site, store, 1)
    async with (
        store.lease("shop", "user:7", role="a") as one,
        store.lease("shop", "user:7", role="b") as two,
    ):
        found = 0
        for lease in (one, two):
            async for window in lease.windows("posts", since="1d", processor=2):
                async for page in window.pages(fetch):
                    found += await commit(site, page, 2)
        assert found == ALL
    assert await effects(site) == [(2, ALL)]


async def test_it_is_audited_and_explained(site: Site) -> None:
    store = await opened(site)
    await run(site, store, 0)
    assert await store.audit() == []
    await run(site, store, 4, stop_after=1)
    entries = await store.audit()
    assert [(e.action, e.key, e.detail["processor"]) for e in entries] == [
        ("processor", belaypin.Key(*KEY), [0, 4])
    ]
    done, left = await store.explain(KEY, 0), await store.explain(KEY, 5)
    assert (done.verdict, done.processor) == ("skip", 4)
    assert (left.verdict, left.processor) == ("process", 4)
    assert "version 4" in str(done)
    assert "processed again" in str(left)


async def test_a_document_is_processed_once_more(site: Site) -> None:
    store = await site.open()

    async def offer(version: int, revision: int = 5) -> Any:
        async with (
            store.lease("shop", "user:7") as lease,
            lease.changed("profile", "same", processor=version, revision=revision) as change,
        ):
            return change.kind

    assert [await offer(v) for v in (0, 0, 2, 2)] == ["new", "unchanged", "changed", "unchanged"]
    assert await offer(3, revision=4) == "stale"  # what is older may not replace what is newer
    with pytest.raises(SchemaTooNew, match="version 2"):
        await offer(1)
    assert await offer(2) == "unchanged"
    assert (await store.explain(("shop", "user:7", "profile"))).processor == 2


async def test_a_version_is_a_number(site: Site) -> None:
    store = await site.open()
    for wrong in (-1, "2", 1.0, True, None, 2**63):
        async with store.lease("shop", "user:7") as lease:
            with pytest.raises(UsageError, match="processor"):
                await walk(lease.windows("posts", since="1d", processor=wrong))
            with pytest.raises(UsageError, match="processor"):
                lease.live("posts", at="at", processor=wrong)
            with pytest.raises(UsageError, match="processor"):
                lease.changed("profile", 1, processor=wrong)


WORKER = """
    import sys, time
    import belaypin

    url, version, role = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    mark = "%s" if url.startswith("postgresql") else "?"
    upsert = (
        f"INSERT INTO effect VALUES ({mark}, {mark}) "
        "ON CONFLICT (id) DO UPDATE SET by_version = excluded.by_version"
    )

    def fetch(cursor):
        page = cursor or 0
        time.sleep(0.01)  # old code has no end of work: only the new code stops it
        is_last = page >= 39 and version > 1
        return [{"id": page * 5 % 200 + n} for n in range(5)], None if is_last else page + 1

    with belaypin.open(url) as store, store.lease("shop", "user:7", role=role) as lease:
        print("at work", flush=True)
        try:
            for window in lease.windows("posts", since="1d", processor=version):
                for page in window.pages(fetch):
                    with page.commit() as tx:
                        for item in tx.fresh(page.items, key="id"):
                            tx.execute(upsert, (item["id"], version))
        except belaypin.SchemaTooNew:
            print("refused")
            sys.exit(3)
    print("done")
"""


@pytest.mark.parametrize("pair", [("sync", "file"), ("sync", "postgres")], ids="-".join)
async def test_old_and_new_workers_side_by_side(site: Site) -> None:
    """Real processes on one store: whatever old code wrote, the new code has written again."""
    await opened(site)

    def start(version: int, role: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(WORKER), site.url, str(version), role]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    old = [start(1, f"old-{n}") for n in range(2)]
    for worker in old:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "at work\n"
    new = start(2, "new")
    ends = [worker.wait(60) for worker in (*old, new)]
    assert ends == [3, 3, 0]
    late = start(1, "late")
    assert late.wait(60) == 3
    for worker in (*old, new, late):
        assert worker.stdout is not None
        worker.stdout.close()
    assert await effects(site) == [(2, 200)]
    store = await site.open()
    assert (await store.load(KEY)).items == 200
    assert (await store.verify()).ok
    await site.close()
