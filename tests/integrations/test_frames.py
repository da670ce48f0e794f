"""Frames: the fresh rows of one, and exports; with the real Polars, pandas and Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import belaypin
from belaypin.integrations.frames import Library, What, afresh_frame, export_frame, fresh_frame

KEY = ("shop", "site:1", "posts")
START = datetime(2024, 3, 1, tzinfo=UTC)
ROWS = [{"id": n, "text": f"post {n}", "at": START + timedelta(minutes=n)} for n in range(6)]

MAKERS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "polars": pl.DataFrame,
    "pandas": pd.DataFrame,
    "table": pa.Table.from_pylist,
    "batch": pa.RecordBatch.from_pylist,
}
EVERYTHING: list[What] = [
    "entities",
    "streams",
    "items",
    "coverage",
    "gaps",
    "failures",
    "leases",
    "operations",
]


@pytest.fixture
def store(url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(url) as store:
        store.execute("CREATE TABLE posts (id BIGINT, text TEXT)")
        yield store


def ids(frame: Any) -> list[int]:
    column = frame["id"]
    return column.to_pylist() if isinstance(frame, pa.Table | pa.RecordBatch) else list(column)


def commit(store: belaypin.Store, frames: list[Any], **fresh: Any) -> list[Any]:
    """The fresh parts of the frames of one page."""
    found: list[Any] = []
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since=START, overlap="1d"):
            for page in window.pages(lambda cursor: (frames, None)):
                with page.commit() as tx:
                    found += [fresh_frame(tx, frame, **fresh) for frame in page.items]
    return found


@pytest.mark.parametrize("kind", MAKERS)
def test_fresh_rows_come_as_a_frame_of_the_same_type(store: belaypin.Store, kind: str) -> None:
    make = MAKERS[kind]
    (first,) = commit(store, [make(ROWS[1:4])], key="id")
    assert ids(first) == [1, 2, 3]
    assert type(first) is type(make(ROWS))
    shuffled = [ROWS[n] for n in (5, 1, 0, 3, 5, 4)]
    later, again = commit(store, [make(shuffled), make(ROWS)], key="id")
    assert ids(later) == [5, 0, 4]
    assert ids(again) == []
    assert list(first.to_pydict() if kind in ("table", "batch") else first.columns) == list(ROWS[0])
    assert store.seen(KEY, range(9)) == set(range(6))


@pytest.mark.parametrize("kind", MAKERS)
def test_changed_content_is_fresh_again(store: belaypin.Store, kind: str) -> None:
    make = MAKERS[kind]
    commit(store, [make(ROWS)], key="id", content=["text"])
    edited = [{**row, "text": "edited"} if row["id"] in (2, 4) else row for row in ROWS]
    (found,) = commit(store, [make(edited)], key=lambda row: row["id"], content=["text"])
    assert ids(found) == [2, 4]


def test_a_frame_goes_into_a_table(store: belaypin.Store) -> None:
    for _ in range(2):
        with store.lease(*KEY[:2]) as lease:
            for window in lease.windows(KEY[2], since=START, overlap="1d"):
                for page in window.pages(lambda cursor: ([pl.DataFrame(ROWS)], None)):
                    with page.commit() as tx:
                        fresh = fresh_frame(tx, page.items[0], key="id").select("id", "text")
                        tx.copy("posts", fresh.columns, fresh.iter_rows())
    assert store.execute("SELECT count(*), count(DISTINCT id) FROM posts").fetchone() == (6, 6)


async def test_async(sqlite_url: str) -> None:
    async with await belaypin.aopen(sqlite_url) as store:
        for expected in ([0, 1, 2, 3, 4, 5], []):
            async with store.lease(*KEY[:2]) as lease:
                async for window in lease.windows(KEY[2], since=START, overlap="1d"):
                    async for page in window.pages(lambda cursor: ([pl.DataFrame(ROWS)], None)):
                        async with page.commit() as tx:
                            assert ids(await afresh_frame(tx, page.items[0], key="id")) == expected


@pytest.mark.parametrize(
    "thing",
    [pl.LazyFrame(ROWS), ROWS, pl.Series([1]), None],
    ids=["lazy", "rows", "series", "none"],
)
def test_what_is_no_frame_is_refused(sqlite_url: str, thing: Any) -> None:
    with belaypin.open(sqlite_url) as store, pytest.raises(belaypin.UsageError, match="DataFrame"):
        commit(store, [thing], key="id")


def test_a_pandas_index_is_kept_and_a_missing_id_is_refused(store: belaypin.Store) -> None:
    frame = pd.DataFrame(ROWS).set_index(pd.Index([f"row {n}" for n in range(6)]))
    commit(store, [frame.iloc[:2]], key="id")
    (found,) = commit(store, [frame], key="id")
    assert list(found.index) == ["row 2", "row 3", "row 4", "row 5"]
    with pytest.raises(belaypin.UsageError, match="id"):
        commit(store, [pd.DataFrame([{"id": 7}, {"id": None}])], key="id")


# --- export -------------------------------------------------------------------------------------


@pytest.fixture
def full(store: belaypin.Store) -> belaypin.Store:
    """A store with a row of each kind."""
    retry = belaypin.Retry(max_attempts=1)
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(
            KEY[2], since=START, until=START + timedelta(hours=1), retry=retry
        ):
            for page in window.pages(lambda cursor: (ROWS, None)):
                with page.commit() as tx:
                    for row in tx.fresh(page.items, key="id"):
                        with tx.attempt(row, payload={"id": row["id"]}):
                            assert row["id"] != 3
        later = START + timedelta(hours=2)  # which leaves a gap
        for window in lease.windows(KEY[2], since=later, until=later + timedelta(hours=1)):
            for page in window.pages(lambda cursor: ([], None)):
                with page.commit():
                    pass
    with store.once("op") as op:
        op.result = 1
    return store


def arguments(what: What) -> tuple[Any, ...]:
    return (KEY,) if what in ("items", "coverage") else ()


def rows_of(frame: Any) -> list[dict[str, Any]]:
    if isinstance(frame, pl.DataFrame):
        return list(frame.to_dicts())
    table: Any = pa.Table.from_pandas(frame) if isinstance(frame, pd.DataFrame) else frame
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def types_of(frame: Any) -> dict[str, Any]:
    """Without those of ids, which are by what ids there are."""
    if isinstance(frame, pa.Table):
        types = dict(zip(frame.schema.names, frame.schema.types, strict=True))
    else:
        types = dict(frame.schema if isinstance(frame, pl.DataFrame) else frame.dtypes)
    return {name: kind for name, kind in types.items() if name != "item_id"}


@pytest.mark.parametrize("into", ["polars", "pandas", "arrow"])
def test_everything_can_be_exported(full: belaypin.Store, into: Library) -> None:
    rows = {
        what: rows_of(export_frame(full, what, *arguments(what), into=into)) for what in EVERYTHING
    }
    assert [row["item_id"] for row in rows["items"]] == [0, 1, 2, 4, 5]
    assert rows["coverage"][0]["start"] == START
    assert [row["item_id"] for row in rows["failures"]] == [3]
    assert "payload" not in rows["failures"][0]
    (stream,) = rows["streams"]
    assert (stream["pipeline"], stream["entity"], stream["stream"], stream["items"]) == (*KEY, 5)
    assert [row["id"] for row in rows["operations"]] == ["op"]
    assert [(row["entity"], row["stream"]) for row in rows["entities"]] == [("site:1", None)]
    assert len(rows["gaps"]) == 1


@pytest.mark.parametrize("into", ["polars", "pandas", "arrow"])
def test_columns_are_the_same_where_there_is_nothing(
    full: belaypin.Store, tmp_path: Any, into: Library
) -> None:
    with belaypin.open(f"sqlite:///{tmp_path}/empty.db") as empty:
        for what in EVERYTHING:
            nothing, something = (
                export_frame(store, what, *arguments(what), into=into) for store in (empty, full)
            )
            assert types_of(nothing) == types_of(something)
            assert len(nothing) == 0


def test_exports_go_beyond_a_page_and_may_be_limited(sqlite_url: str) -> None:
    with belaypin.open(sqlite_url) as store:
        rows = [{"id": f"post {n:05}"} for n in range(2_500)]
        commit(store, [pl.DataFrame(rows)], key="id")
        frame = export_frame(store, "items", KEY)
        assert sorted(frame["item_id"]) == [row["id"] for row in rows]
        assert len(export_frame(store, "items", KEY, limit=7)) == 7
        assert len(export_frame(store, "items", KEY, contains="0000")) == 10
        assert len(export_frame(store, "streams", "stream:posts")) == 1
        assert len(export_frame(store, "streams", "stream:other")) == 0


def test_what_there_is_not_is_refused(sqlite_url: str) -> None:
    with belaypin.open(sqlite_url) as store:
        for what, into in (("tables", "polars"), ("items", "numpy")):
            with pytest.raises(belaypin.UsageError, match="there are"):
                export_frame(store, what, into=into)  # type: ignore[arg-type]
