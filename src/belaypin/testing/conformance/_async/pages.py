"""Pages and their commit: one transaction for everything, or nothing at all."""

from __future__ import annotations

from functools import partial
from typing import Any

from belaypin._async.window import AsyncPage, AsyncWindow
from belaypin.errors import FetchError, NotCommitted, SqlError, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import KEY, effects, mine, opened, write
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused, unchanged
from belaypin.testing.conformance.source import Source, events, minute


async def _window(place: AsyncPlace, stream: str = KEY[2]) -> AsyncWindow:
    """The first window of a stream, of a lease that stays held until its store is closed."""
    store = await opened(place, clock=FakeClock(minute(60)))
    lease = store.lease(*KEY[:2])
    await lease.acquire()
    async for window in lease.windows(stream, since=minute(0)):
        return window
    raise AssertionError("there was no window")


async def _page(place: AsyncPlace, count: int = 3, stream: str = KEY[2]) -> AsyncPage:
    window = await _window(place, stream)
    async for page in window.pages(Source(events(count)).fetch):
        return page
    raise AssertionError("there was no page")


async def _mine_all(place: AsyncPlace) -> None:
    """Another worker does what is left of nine items; each has then one effect."""
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2], role="other") as lease:
        await mine(place, lease, Source(events(9)))
    assert effects(place) == [str(number) for number in range(9)]


async def check_a_page_that_is_not_committed_stops_the_loop(place: AsyncPlace) -> None:
    window = await _window(place)
    source = Source(events(9))
    with refused(place, NotCommitted, "commit"):
        async for page in window.pages(source.fetch):
            assert len(page.items) == 3
    assert source.cursors == [None]
    await _mine_all(place)


async def check_the_last_page_must_be_committed_too(place: AsyncPlace) -> None:
    window = await _window(place)
    with refused(place, NotCommitted):
        async for _ in window.pages(Source(events(2)).fetch):
            pass
    await _mine_all(place)


async def check_an_empty_page_needs_no_commit(place: AsyncPlace) -> None:
    window = await _window(place)
    pages: list[tuple[list[Any], Any]] = [([], 1), (events(2), 2), ([], 3), ([], None)]
    async for page in window.pages(lambda cursor: pages[cursor or 0]):
        if page.items:
            async with page.commit() as tx:
                await write(place, tx, await tx.fresh(page.items, key="id"))
    assert effects(place) == ["0", "1"]
    assert len(place.query("SELECT * FROM belaypin_coverage")) == 1


async def check_a_page_is_committed_once(place: AsyncPlace) -> None:
    page = await _page(place)
    async with page.commit() as tx:
        await write(place, tx, await tx.fresh(page.items, key="id"))
    assert page.is_committed
    with refused(place, NotCommitted, "already"):
        page.commit()


async def check_an_exception_undoes_everything(place: AsyncPlace) -> None:
    page = await _page(place, 9)
    with refused(place, ZeroDivisionError):
        async with page.commit() as tx:
            await write(place, tx, await tx.fresh(page.items, key="id"))
            raise ZeroDivisionError
    assert not page.is_committed
    with refused(place, KeyboardInterrupt):
        async with page.commit() as tx:
            await tx.copy("effect", ["id"], [("x",)])
            raise KeyboardInterrupt
    # The same page may be tried again.
    async with page.commit() as tx:
        fresh = await tx.fresh(page.items, key="id")
        await write(place, tx, fresh)
    assert fresh == events(3)
    await _mine_all(place)


async def check_a_statement_that_fails_undoes_everything(place: AsyncPlace) -> None:
    page = await _page(place, 9)
    for statement in ("INSERT INTO no_such_table VALUES (1)", "nonsense", ""):
        with refused(place, SqlError):
            async with page.commit() as tx:
                await write(place, tx, await tx.fresh(page.items, key="id"))
                await tx.execute(statement)
                await tx.execute("SELECT * FROM no_such_table")
    await _mine_all(place)


async def check_a_driver_error_is_the_cause(place: AsyncPlace) -> None:
    page = await _page(place)
    cause: BaseException | None = None
    with refused(place, SqlError, "no_such_table"):
        async with page.commit() as tx:
            try:
                await tx.execute("SELECT * FROM no_such_table")
            except SqlError as error:
                cause = error.__cause__
                raise
    assert cause is not None
    assert "no_such_table" in str(cause)


async def check_a_failure_that_is_swallowed_keeps_all_or_nothing(place: AsyncPlace) -> None:
    """A database may undo the statement only, or the whole transaction: never a part of it."""
    page = await _page(place, 9)
    try:
        async with page.commit() as tx:
            await write(place, tx, await tx.fresh(page.items, key="id"))
            with raises(SqlError):
                await tx.execute("INSERT INTO no_such_table VALUES (1)")
    except SqlError:
        assert effects(place) == []
    else:
        assert effects(place) == ["0", "1", "2"]
    await _mine_all(place)


async def check_values_that_the_driver_refuses_are_sql_errors(place: AsyncPlace) -> None:
    page = await _page(place, 9)
    insert = place.sql("INSERT INTO effect (id) VALUES (?)")
    bad: list[tuple[Any, ...]] = [("\ud800",), (object(),), ("too", "many"), ()]
    for params in bad:
        with refused(place, SqlError):
            async with page.commit() as tx:
                await tx.fresh(page.items, key="id")
                await tx.execute(insert, params)
        with refused(place, SqlError):
            async with page.commit() as tx:
                await tx.fresh(page.items, key="id")
                await tx.executemany(insert, [("ok",), params])
    await _mine_all(place)


async def check_the_block_ends_the_transaction_and_nobody_else(place: AsyncPlace) -> None:
    page = await _page(place, 9)
    for statement in (
        "COMMIT",
        "  commit;",
        "ROLLBACK",
        "END",
        "BEGIN",
        "START TRANSACTION",
        "ABORT",
        "-- why\nCOMMIT",
        "/* why */ COMMIT",
        "/* /* why */ */ COMMIT",
        "; COMMIT",
        ";;\n ; ROLLBACK",
    ):
        try:
            with unchanged(place):
                async with page.commit() as tx:
                    await write(place, tx, await tx.fresh(page.items, key="id"))
                    await tx.execute(statement)
                    await tx.execute("INSERT INTO effect (id) VALUES ('after')")
        except (UsageError, SqlError):
            continue
        raise AssertionError(f"{statement!r} was accepted")
    await _mine_all(place)


async def check_several_statements_in_one_keep_all_or_nothing(place: AsyncPlace) -> None:
    page = await _page(place, 9)
    for statement in (
        "INSERT INTO effect (id) VALUES ('multi'); COMMIT",
        "INSERT INTO effect (id) VALUES ('multi'); ROLLBACK; BEGIN",
        "SELECT 1; COMMIT; BEGIN",
    ):
        with refused(place, SqlError):
            async with page.commit() as tx:
                await write(place, tx, await tx.fresh(page.items, key="id"))
                await tx.execute(statement)
                await tx.execute("INSERT INTO effect (id) VALUES ('after')")
    await _mine_all(place)


async def check_savepoints_are_the_users(place: AsyncPlace) -> None:
    page = await _page(place, 3)
    async with page.commit() as tx:
        await write(place, tx, await tx.fresh(page.items, key="id"))
        await tx.execute("SAVEPOINT mine")
        await tx.execute("INSERT INTO effect (id) VALUES ('undone')")
        await tx.execute("ROLLBACK TO SAVEPOINT mine")
        await tx.execute("RELEASE SAVEPOINT mine")
    assert effects(place) == ["0", "1", "2"]


async def check_a_transaction_is_used_in_its_block(place: AsyncPlace) -> None:
    page = await _page(place)
    async with page.commit() as tx:
        await tx.fresh(page.items, key="id")
    with refused(place, UsageError, "with"):
        await tx.execute("INSERT INTO effect (id) VALUES ('late')")
    with refused(place, UsageError, "with"):
        await tx.copy("effect", ["id"], [("late",)])


async def check_the_users_statements_read_and_write(place: AsyncPlace) -> None:
    page = await _page(place)
    async with page.commit() as tx:
        insert = place.sql("INSERT INTO effect (id, body) VALUES (?, ?)")
        assert (await tx.execute(insert, ("a", "b"))).rowcount == 1
        await tx.executemany(insert, ((str(n), None) for n in range(3)))
        await tx.copy("effect", ("id", "body"), ((f"c{n}", "\N{SNOWMAN}'\t\\\n") for n in range(3)))
        await tx.copy("effect", ["id"], [])
        found = await tx.execute(place.sql("SELECT id, body FROM effect WHERE id = ?"), ["c1"])
        assert found.rows == [("c1", "\N{SNOWMAN}'\t\\\n")]
        everything = await tx.execute("SELECT id FROM effect ORDER BY id")
        assert everything.fetchone() == ("0",)
        assert [row[0] for row in everything.fetchall()] == ["1", "2", "a", "c0", "c1", "c2"]
        assert everything.fetchone() is None
        assert len(list(everything)) == 7
    assert effects(place) == ["0", "1", "2", "a", "c0", "c1", "c2"]


async def check_rows_that_break_off_are_undone(place: AsyncPlace) -> None:
    page = await _page(place, 9)

    def rows() -> Any:
        yield ("first",)
        raise ZeroDivisionError

    for attempt in ("copy", "executemany"):
        with refused(place, ZeroDivisionError):
            async with page.commit() as tx:
                await tx.fresh(page.items, key="id")
                if attempt == "copy":
                    await tx.copy("effect", ["id"], rows())
                else:
                    await tx.executemany(place.sql("INSERT INTO effect (id) VALUES (?)"), rows())
    await _mine_all(place)


def _answer(returned: Any, cursor: Any) -> Any:
    return returned if cursor is None else None


async def check_what_is_no_page_is_refused(place: AsyncPlace) -> None:
    window = await _window(place)
    nonsense: list[Any] = [
        None,
        [],
        events(2),
        "items",
        ([],),
        ([], None, None),
        (None, None),
        ("items", None),
        ({"id": 1}, None),
        (7, None),
        ([], object()),
        ([], float("nan")),
        ([], float("inf")),
        ([], b"\xff"),
        ([], {1, 2}),
        ([], "x" * 100_000),
        ([], "\ud800"),
    ]
    for returned in nonsense:
        with refused(place, FetchError):
            async for _ in window.pages(partial(_answer, returned)):
                raise AssertionError(f"{returned!r} was taken for a page")
    with refused(place, FetchError, "data.items"):
        async for _ in window.pages(lambda _: {"error": "quota"}, items="data.items"):
            pass
    await _mine_all(place)


async def check_a_cursor_that_stands_still_is_refused(place: AsyncPlace) -> None:
    window = await _window(place)
    with refused(place, FetchError, "same cursor"):
        async for _ in window.pages(lambda _: ([], "again"), cursor=None):
            pass


async def check_a_fetch_that_fails_loses_nothing(place: AsyncPlace) -> None:
    window = await _window(place)
    source = Source(events(9))

    def fetch(cursor: Any) -> Any:
        if cursor == 6:
            raise ConnectionError
        return source.fetch(cursor)

    with raises(ConnectionError):
        async for page in window.pages(fetch):
            async with page.commit() as tx:
                await write(place, tx, await tx.fresh(page.items, key="id"))
    assert effects(place) == ["0", "1", "2", "3", "4", "5"]
    assert place.query("SELECT * FROM belaypin_coverage") == []
    # The very same window goes on where it stood.
    async for page in window.pages(source.fetch):
        async with page.commit() as tx:
            await write(place, tx, await tx.fresh(page.items, key="id"))
    await _mine_all(place)


async def check_a_block_holds_the_only_transaction(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(Source(events(3)).fetch):
                async with page.commit() as tx:
                    await write(place, tx, await tx.fresh(page.items, key="id"))
                    with raises(UsageError, "for ever"):
                        await store.save(KEY, {})
                    with raises(UsageError, "for ever"):
                        async with lease.changed("profile", "new") as change:
                            await change.tx.execute("SELECT 1")
                    with raises(UsageError, "for ever"):
                        async with store.lease(*KEY[:2], role="live"):
                            raise AssertionError("it would have waited for itself")
    assert effects(place) == ["0", "1", "2"]
    assert await store.save(KEY, {}) > 0


async def check_an_old_page_is_refused(place: AsyncPlace) -> None:
    window = await _window(place)
    source = Source(events(9))
    old: AsyncPage | None = None
    async for first in window.pages(source.fetch):
        old = first
        break
    assert old is not None
    async for page in window.pages(source.fetch):
        async with page.commit() as tx:
            await write(place, tx, await tx.fresh(page.items, key="id"))
    with refused(place, NotCommitted):
        old.commit()
    assert effects(place) == [str(number) for number in range(9)]
