# Generated from src/belaypin/testing/conformance/_async/pages.py by tools/generate_sync.py; do not edit.
"""Pages and their commit: one transaction for everything, or nothing at all."""

from __future__ import annotations

from functools import partial
from typing import Any

from belaypin._sync.window import Page, Window
from belaypin.errors import FetchError, NotCommitted, SqlError, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import KEY, effects, mine, opened, write
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises, refused, unchanged
from belaypin.testing.conformance.source import Source, events, minute


def _window(place: Place, stream: str = KEY[2]) -> Window:
    """The first window of a stream, of a lease that stays held until its store is closed."""
    store = opened(place, clock=FakeClock(minute(60)))
    lease = store.lease(*KEY[:2])
    lease.acquire()
    for window in lease.windows(stream, since=minute(0)):
        return window
    raise AssertionError("there was no window")


def _page(place: Place, count: int = 3, stream: str = KEY[2]) -> Page:
    window = _window(place, stream)
    for page in window.pages(Source(events(count)).fetch):
        return page
    raise AssertionError("there was no page")


def _mine_all(place: Place) -> None:
    """Another worker does what is left of nine items; each has then one effect."""
    store = opened(place, clock=FakeClock(minute(60)))
    with store.lease(*KEY[:2], role="other") as lease:
        mine(place, lease, Source(events(9)))
    assert effects(place) == [str(number) for number in range(9)]


def check_a_page_that_is_not_committed_stops_the_loop(place: Place) -> None:
    window = _window(place)
    source = Source(events(9))
    with refused(place, NotCommitted, "commit"):
        for page in window.pages(source.fetch):
            assert len(page.items) == 3
    assert source.cursors == [None]
    _mine_all(place)


def check_the_last_page_must_be_committed_too(place: Place) -> None:
    window = _window(place)
    with refused(place, NotCommitted):
        for _ in window.pages(Source(events(2)).fetch):
            pass
    _mine_all(place)


def check_an_empty_page_needs_no_commit(place: Place) -> None:
    window = _window(place)
    pages: list[tuple[list[Any], Any]] = [([], 1), (events(2), 2), ([], 3), ([], None)]
    for page in window.pages(lambda cursor: pages[cursor or 0]):
        if page.items:
            with page.commit() as tx:
                write(place, tx, tx.fresh(page.items, key="id"))
    assert effects(place) == ["0", "1"]
    assert len(place.query("SELECT * FROM belaypin_coverage")) == 1


def check_a_page_is_committed_once(place: Place) -> None:
    page = _page(place)
    with page.commit() as tx:
        write(place, tx, tx.fresh(page.items, key="id"))
    assert page.is_committed
    with refused(place, NotCommitted, "already"):
        page.commit()


def check_an_exception_undoes_everything(place: Place) -> None:
    page = _page(place, 9)
    with refused(place, ZeroDivisionError):
        with page.commit() as tx:
            write(place, tx, tx.fresh(page.items, key="id"))
            raise ZeroDivisionError
    assert not page.is_committed
    with refused(place, KeyboardInterrupt):
        with page.commit() as tx:
            tx.copy("effect", ["id"], [("x",)])
            raise KeyboardInterrupt
    # The same page may be tried again.
    with page.commit() as tx:
        fresh = tx.fresh(page.items, key="id")
        write(place, tx, fresh)
    assert fresh == events(3)
    _mine_all(place)


def check_a_statement_that_fails_undoes_everything(place: Place) -> None:
    page = _page(place, 9)
    for statement in ("INSERT INTO no_such_table VALUES (1)", "nonsense", ""):
        with refused(place, SqlError):
            with page.commit() as tx:
                write(place, tx, tx.fresh(page.items, key="id"))
                tx.execute(statement)
                tx.execute("SELECT * FROM no_such_table")
    _mine_all(place)


def check_a_driver_error_is_the_cause(place: Place) -> None:
    page = _page(place)
    cause: BaseException | None = None
    with refused(place, SqlError, "no_such_table"):
        with page.commit() as tx:
            try:
                tx.execute("SELECT * FROM no_such_table")
            except SqlError as error:
                cause = error.__cause__
                raise
    assert cause is not None
    assert "no_such_table" in str(cause)


def check_a_failure_that_is_swallowed_keeps_all_or_nothing(place: Place) -> None:
    """A database may undo the statement only, or the whole transaction: never a part of it."""
    page = _page(place, 9)
    try:
        with page.commit() as tx:
            write(place, tx, tx.fresh(page.items, key="id"))
            with raises(SqlError):
                tx.execute("INSERT INTO no_such_table VALUES (1)")
    except SqlError:
        assert effects(place) == []
    else:
        assert effects(place) == ["0", "1", "2"]
    _mine_all(place)


def check_values_that_the_driver_refuses_are_sql_errors(place: Place) -> None:
    page = _page(place, 9)
    insert = place.sql("INSERT INTO effect (id) VALUES (?)")
    bad: list[tuple[Any, ...]] = [("\ud800",), (object(),), ("too", "many"), ()]
    for params in bad:
        with refused(place, SqlError):
            with page.commit() as tx:
                tx.fresh(page.items, key="id")
                tx.execute(insert, params)
        with refused(place, SqlError):
            with page.commit() as tx:
                tx.fresh(page.items, key="id")
                tx.executemany(insert, [("ok",), params])
    _mine_all(place)


def check_the_block_ends_the_transaction_and_nobody_else(place: Place) -> None:
    page = _page(place, 9)
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
                with page.commit() as tx:
                    write(place, tx, tx.fresh(page.items, key="id"))
                    tx.execute(statement)
                    tx.execute("INSERT INTO effect (id) VALUES ('after')")
        except (UsageError, SqlError):
            continue
        raise AssertionError(f"{statement!r} was accepted")
    _mine_all(place)


def check_several_statements_in_one_keep_all_or_nothing(place: Place) -> None:
    page = _page(place, 9)
    for statement in (
        "INSERT INTO effect (id) VALUES ('multi'); COMMIT",
        "INSERT INTO effect (id) VALUES ('multi'); ROLLBACK; BEGIN",
        "SELECT 1; COMMIT; BEGIN",
    ):
        with refused(place, SqlError):
            with page.commit() as tx:
                write(place, tx, tx.fresh(page.items, key="id"))
                tx.execute(statement)
                tx.execute("INSERT INTO effect (id) VALUES ('after')")
    _mine_all(place)


def check_savepoints_are_the_users(place: Place) -> None:
    page = _page(place, 3)
    with page.commit() as tx:
        write(place, tx, tx.fresh(page.items, key="id"))
        tx.execute("SAVEPOINT mine")
        tx.execute("INSERT INTO effect (id) VALUES ('undone')")
        tx.execute("ROLLBACK TO SAVEPOINT mine")
        tx.execute("RELEASE SAVEPOINT mine")
    assert effects(place) == ["0", "1", "2"]


def check_a_transaction_is_used_in_its_block(place: Place) -> None:
    page = _page(place)
    with page.commit() as tx:
        tx.fresh(page.items, key="id")
    with refused(place, UsageError, "with"):
        tx.execute("INSERT INTO effect (id) VALUES ('late')")
    with refused(place, UsageError, "with"):
        tx.copy("effect", ["id"], [("late",)])


def check_the_users_statements_read_and_write(place: Place) -> None:
    page = _page(place)
    with page.commit() as tx:
        insert = place.sql("INSERT INTO effect (id, body) VALUES (?, ?)")
        assert tx.execute(insert, ("a", "b")).rowcount == 1
        tx.executemany(insert, ((str(n), None) for n in range(3)))
        tx.copy("effect", ("id", "body"), ((f"c{n}", "\N{SNOWMAN}'\t\\\n") for n in range(3)))
        tx.copy("effect", ["id"], [])
        found = tx.execute(place.sql("SELECT id, body FROM effect WHERE id = ?"), ["c1"])
        assert found.rows == [("c1", "\N{SNOWMAN}'\t\\\n")]
        everything = tx.execute("SELECT id FROM effect ORDER BY id")
        assert everything.fetchone() == ("0",)
        assert [row[0] for row in everything.fetchall()] == ["1", "2", "a", "c0", "c1", "c2"]
        assert everything.fetchone() is None
        assert len(list(everything)) == 7
    assert effects(place) == ["0", "1", "2", "a", "c0", "c1", "c2"]


def check_rows_that_break_off_are_undone(place: Place) -> None:
    page = _page(place, 9)

    def rows() -> Any:
        yield ("first",)
        raise ZeroDivisionError

    for attempt in ("copy", "executemany"):
        with refused(place, ZeroDivisionError):
            with page.commit() as tx:
                tx.fresh(page.items, key="id")
                if attempt == "copy":
                    tx.copy("effect", ["id"], rows())
                else:
                    tx.executemany(place.sql("INSERT INTO effect (id) VALUES (?)"), rows())
    _mine_all(place)


def _answer(returned: Any, cursor: Any) -> Any:
    return returned if cursor is None else None


def check_what_is_no_page_is_refused(place: Place) -> None:
    window = _window(place)
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
            for _ in window.pages(partial(_answer, returned)):
                raise AssertionError(f"{returned!r} was taken for a page")
    with refused(place, FetchError, "data.items"):
        for _ in window.pages(lambda _: {"error": "quota"}, items="data.items"):
            pass
    _mine_all(place)


def check_a_cursor_that_stands_still_is_refused(place: Place) -> None:
    window = _window(place)
    with refused(place, FetchError, "same cursor"):
        for _ in window.pages(lambda _: ([], "again"), cursor=None):
            pass


def check_a_fetch_that_fails_loses_nothing(place: Place) -> None:
    window = _window(place)
    source = Source(events(9))

    def fetch(cursor: Any) -> Any:
        if cursor == 6:
            raise ConnectionError
        return source.fetch(cursor)

    with raises(ConnectionError):
        for page in window.pages(fetch):
            with page.commit() as tx:
                write(place, tx, tx.fresh(page.items, key="id"))
    assert effects(place) == ["0", "1", "2", "3", "4", "5"]
    assert place.query("SELECT * FROM belaypin_coverage") == []
    # The very same window goes on where it stood.
    for page in window.pages(source.fetch):
        with page.commit() as tx:
            write(place, tx, tx.fresh(page.items, key="id"))
    _mine_all(place)


def check_a_block_holds_the_only_transaction(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since=minute(0)):
            for page in window.pages(Source(events(3)).fetch):
                with page.commit() as tx:
                    write(place, tx, tx.fresh(page.items, key="id"))
                    with raises(UsageError, "for ever"):
                        store.save(KEY, {})
                    with raises(UsageError, "for ever"):
                        with lease.changed("profile", "new") as change:
                            change.tx.execute("SELECT 1")
                    with raises(UsageError, "for ever"):
                        with store.lease(*KEY[:2], role="live"):
                            raise AssertionError("it would have waited for itself")
    assert effects(place) == ["0", "1", "2"]
    assert store.save(KEY, {}) > 0


def check_an_old_page_is_refused(place: Place) -> None:
    window = _window(place)
    source = Source(events(9))
    old: Page | None = None
    for first in window.pages(source.fetch):
        old = first
        break
    assert old is not None
    for page in window.pages(source.fetch):
        with page.commit() as tx:
            write(place, tx, tx.fresh(page.items, key="id"))
    with refused(place, NotCommitted):
        old.commit()
    assert effects(place) == [str(number) for number in range(9)]
