"""Data frames of Polars, pandas and Arrow: the fresh rows of one, and what a store holds as one.

Only the library of the frame in hand is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from importlib import import_module
from itertools import islice
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from belaypin import (
    AsyncCommit,
    Commit,
    EntityRow,
    Failure,
    GapRow,
    Interval,
    ItemRow,
    Key,
    LeaseRow,
    MissingDriver,
    OperationRow,
    Store,
    StreamRow,
    UsageError,
)

__all__ = ["Library", "What", "afresh_frame", "export_frame", "fresh_frame"]

F = TypeVar("F")
Library = Literal["polars", "pandas", "arrow"]
What = Literal[
    "entities", "streams", "items", "coverage", "gaps", "failures", "leases", "operations"
]

_PAGE = 1_000


def fresh_frame(tx: Commit, frame: F, **fresh: Any) -> F:
    """The rows of ``frame`` that were never committed to the stream, as a frame of the same type.

    ``frame`` is a DataFrame of Polars or pandas, or a Table or RecordBatch of Arrow. ``fresh`` is
    as in ``tx.fresh``: ``key`` (a column, or a function of a row as a dict), ``content`` and
    ``revision``. Rows stay in order; every row returned counts as committed once the block has
    ended. A pandas index is kept, but is no column: ``frame.reset_index()`` makes it one.

    Raises UsageError for anything that is no such frame, and as ``tx.fresh`` does.

    >>> def insert(page):
    ...     with page.commit() as tx:
    ...         for frame in page.items:
    ...             fresh = fresh_frame(tx, frame, key="id")
    ...             tx.copy("posts", fresh.columns, fresh.iter_rows())
    """
    rows, take = _taken_apart(frame)
    found: F = take(_places(rows, tx.fresh(rows, **fresh)))
    return found


async def afresh_frame(tx: AsyncCommit, frame: F, **fresh: Any) -> F:
    """``fresh_frame`` for asyncio."""
    rows, take = _taken_apart(frame)
    found: F = take(_places(rows, await tx.fresh(rows, **fresh)))
    return found


def export_frame(
    store: Store,
    what: What,
    *args: Any,
    into: Library = "polars",
    limit: int | None = None,
    **named: Any,
) -> Any:
    """What the store holds, as a DataFrame of Polars or pandas, or a Table of Arrow.

    ``what`` is "entities", "streams", "gaps", "leases" or "operations", or of one Key "items" (the
    ids in its ledger) or "coverage" (its intervals), or "failures"; the arguments are those of the
    store's method for it, without ``limit`` and ``after``. All rows are read, a thousand in each
    transaction, or the first ``limit``. Columns and their types are the same if there are none: a Key is
    three columns, times are in UTC, ids that are not all integers are texts.

    Raises UsageError for what there is not, MissingDriver if the library is not installed.

    >>> import belaypin
    >>> with belaypin.open("sqlite:///:memory:") as store:
    ...     _ = store.save(("shop", "site:1"), {})
    ...     export_frame(store, "entities", into="arrow")["entity"].to_pylist()
    ['site:1']
    """
    if what not in _KINDS or into not in _LIBRARIES:
        raise UsageError(
            f"export_frame(store, {what!r}, into={into!r}): there are {', '.join(_KINDS)}, into "
            f"{', '.join(_LIBRARIES)}."
        )
    record, read = _KINDS[what]
    try:
        library = import_module("pyarrow" if into == "arrow" else into)
    except ImportError as error:
        raise MissingDriver(
            f"export_frame(into={into!r}) needs {error.name}, which is not installed. Install it, "
            f"or choose another of {', '.join(_LIBRARIES)}."
        ) from error
    columns = _columns(record, list(islice(read(store, *args, **named), limit)))
    return _LIBRARIES[into](library, columns)


# --- fresh rows ---------------------------------------------------------------------------------


def _taken_apart(frame: Any) -> tuple[list[dict[str, Any]], Callable[[list[int]], Any]]:
    """The rows of a frame, and how to take some of them by their places."""
    names = [(cls.__module__.partition(".")[0], cls.__name__) for cls in type(frame).__mro__]
    if ("polars", "DataFrame") in names:
        return frame.to_dicts(), lambda places: frame[places]
    if ("pandas", "DataFrame") in names:
        return frame.to_dict("records"), lambda places: frame.iloc[places]
    if ("pyarrow", "Table") in names or ("pyarrow", "RecordBatch") in names:
        return frame.to_pylist(), lambda places: _arrow_take(frame, places)
    lazy = " Collect the LazyFrame first." if ("polars", "LazyFrame") in names else ""
    raise UsageError(
        f"fresh_frame takes a DataFrame of Polars or pandas, or a Table or RecordBatch of Arrow, "
        f"not {type(frame).__name__}.{lazy} For plain rows there is tx.fresh."
    )


def _arrow_take(frame: Any, places: list[int]) -> Any:
    pyarrow = import_module("pyarrow")
    return frame.take(pyarrow.array(places, pyarrow.int64()))


def _places(rows: Sequence[Any], fresh: Sequence[Any]) -> list[int]:
    place_of = {id(row): place for place, row in enumerate(rows)}
    return sorted(place_of[id(row)] for row in fresh)


# --- export -------------------------------------------------------------------------------------


def _listed(method: str) -> Callable[..., Iterator[Any]]:
    def read(store: Store, *args: Any, **named: Any) -> Iterator[Any]:
        after: str | None = None
        while True:
            listing = getattr(store, method)(*args, limit=_PAGE, after=after, **named)
            yield from listing
            after = listing.next
            if after is None:
                return

    return read


def _failures(store: Store, *args: Any, **named: Any) -> Iterator[Failure]:
    after = 0
    while found := store.failures(*args, limit=_PAGE, after=after, **named):
        yield from found
        after = found[-1].failure_id


def _coverage(store: Store, *args: Any, **named: Any) -> Iterator[Interval]:
    yield from store.coverage(*args, **named)


_KINDS: dict[str, tuple[type, Callable[..., Iterator[Any]]]] = {
    "entities": (EntityRow, _listed("entities")),
    "streams": (StreamRow, _listed("streams")),
    "items": (ItemRow, _listed("items")),
    "coverage": (Interval, _coverage),
    "gaps": (GapRow, _listed("gap_list")),
    "failures": (Failure, _failures),
    "leases": (LeaseRow, _listed("leases")),
    "operations": (OperationRow, _listed("operations")),
}

Column = tuple[type, list[Any]]
"""A column: int, bool, datetime, timedelta or str, and its values; each may be None."""


def _columns(record: type, rows: Sequence[Any]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name, hint in get_type_hints(record).items():
        values = [getattr(row, name) for row in rows]
        if name == "payload":
            continue  # listings leave it out
        if Key in (hint, *get_args(hint)):
            columns.update(_key_columns(name, values))
        elif name == "item_id":
            columns[name] = _ids(values)
        else:
            columns[name] = _column(hint, values)
    return columns


def _column(hint: Any, values: list[Any]) -> Column:
    for kind in (bool, int, datetime, timedelta):
        if kind in (hint, *get_args(hint)):
            return kind, values
    return str, [None if value is None else str(value) for value in values]


def _key_columns(name: str, keys: Iterable[Key | None]) -> dict[str, Column]:
    before = name.removesuffix("key")  # "" or "lag_"
    parts = [(*key.parts, None, None)[:3] if key is not None else (None,) * 3 for key in keys]
    names = ("pipeline", "entity", "stream")
    return {f"{before}{part}": (str, [p[n] for p in parts]) for n, part in enumerate(names)}


def _ids(values: list[Any]) -> Column:
    if values and all(type(value) is int for value in values):
        return int, values
    return str, [None if value is None else str(value) for value in values]


def _polars(polars: Any, columns: dict[str, Column]) -> Any:
    types = {
        int: polars.Int64,
        bool: polars.Boolean,
        datetime: polars.Datetime("us", "UTC"),
        timedelta: polars.Duration("us"),
        str: polars.String,
    }
    return polars.DataFrame(
        {name: values for name, (_, values) in columns.items()},
        schema={name: types[kind] for name, (kind, _) in columns.items()},
    )


def _pandas(pandas: Any, columns: dict[str, Column]) -> Any:
    types = {
        int: "Int64",
        bool: "boolean",
        datetime: "datetime64[us, UTC]",
        timedelta: "timedelta64[us]",
        str: "string",
    }
    return pandas.DataFrame(
        {name: pandas.array(values, types[kind]) for name, (kind, values) in columns.items()}
    )


def _arrow(pyarrow: Any, columns: dict[str, Column]) -> Any:
    types = {
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        datetime: pyarrow.timestamp("us", "UTC"),
        timedelta: pyarrow.duration("us"),
        str: pyarrow.string(),
    }
    return pyarrow.table(
        {name: pyarrow.array(values, types[kind]) for name, (kind, values) in columns.items()}
    )


_LIBRARIES: dict[str, Callable[[Any, dict[str, Column]], Any]] = {
    "polars": _polars,
    "pandas": _pandas,
    "arrow": _arrow,
}
