"""File sinks: whole files only, each item in exactly one, whatever becomes of the commit."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import Fenced, Key, SqlError, StoreFull, StoreUnavailable, UsageError
from belaypin.backends.sqlite import SqliteBackend
from belaypin.sinks import JsonLines, Parquet, disk
from tests.capabilities.sites import FixedClock, Site

ENTITY = ("shop", "user:7")
FILES = ["file", "postgres"]
PAGES, PER_PAGE = 4, 3
SCHEMA = pa.schema([pa.field("id", pa.int64(), nullable=False), ("text", pa.string())])
ALL = list(range(PAGES * PER_PAGE))


class Stop(Exception):
    """Ends a commit half-way."""


def fetch(cursor: Any) -> tuple[list[dict[str, Any]], Any]:
    page = cursor or 0
    items = [{"id": page * PER_PAGE + n, "text": f"é {n}\n"} for n in range(PER_PAGE)]
    return items, page + 1 if page + 1 < PAGES else None


async def mine(
    store: Any,
    *sinks: Any,
    entity: tuple[str, str] = ENTITY,
    stop_at: int | None = None,
    role: str = "main",
    sql: str | None = None,
) -> None:
    async with store.lease(*entity, role=role) as lease:
        async for window in lease.windows("posts", since="1d", overlap="1h"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    for item in await tx.fresh(page.items, key="id"):
                        for sink in sinks:
                            sink.write(getattr(tx, "_thing", tx), item)
                        if item["id"] == stop_at:
                            raise Stop
                    if sql is not None:
                        await tx.execute(sql)


async def call(site: Site, store: Any, method: Callable[[Any], Any]) -> Any:
    """A sink's method, with a store of either colour."""
    result = method(getattr(store, "_thing", store))
    return await result if site.colour == "async" else result


def visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def ids(folder: Path, suffix: str = "") -> list[int]:
    """Every id in every file that a reader sees, by other code than the product's."""
    found = []
    for path in visible(folder):
        if not path.name.endswith(suffix):
            continue
        if path.suffix == ".parquet":
            found += pq.read_table(path).column("id").to_pylist()
            continue
        text = path.read_text(encoding="utf-8")
        assert text.endswith("\n")
        found += [json.loads(line)["id"] for line in text.splitlines()]
    return sorted(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


# --- the rule -------------------------------------------------------------------------------------


async def test_each_item_is_in_exactly_one_whole_file(site: Site, folder: Path) -> None:
    store = await site.open()
    for stop_at in (4, 4, 11, None, None):
        sink = JsonLines(folder)
        try:
            await mine(store, sink, stop_at=stop_at)
        except Stop:
            assert hidden(folder) == []  # undone with its commit
        found = ids(folder)
        assert found == ALL[: len(found)]
    assert ids(folder) == ALL
    assert len(visible(folder)) == PAGES
    report = await call(site, store, JsonLines(folder).verify)
    assert (report.ok, report.files, report.rows) == (True, PAGES, len(ALL))


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("are_apart", [True, False])
async def test_two_formats_take_part_in_one_commit(
    site: Site, tmp_path: Path, are_apart: bool
) -> None:
    store = await site.open()
    both = tmp_path / "posts"
    lines, columns = (tmp_path / "lines", tmp_path / "columns") if are_apart else (both, both)
    sinks: tuple[Any, ...] = ()
    for stop_at in (5, None):
        sinks = JsonLines(lines), Parquet(columns, schema=SCHEMA, row_group=2)
        try:
            await mine(store, *sinks, stop_at=stop_at)
        except Stop:
            assert ids(lines, "jsonl") == ids(columns, "parquet") == ALL[:3]
    assert ids(lines, "jsonl") == ids(columns, "parquet") == ALL
    assert (hidden(lines), hidden(columns)) == ([], [])
    for sink in sinks:
        report = await call(site, store, sink.verify)
        assert (report.ok, report.rows) == (True, len(ALL))
    table = pq.read_table(next(columns.glob("*-00000001-*.parquet")))
    assert table.schema.equals(SCHEMA)
    assert table.column("text")[0].as_py() == "é 0\n"


@pytest.mark.parametrize("database", FILES)
async def test_the_manifest_says_what_was_written(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder, name="posts")
    await mine(store, sink)
    files = await call(site, store, sink.files)
    assert [file.name for file in files] == [path.name for path in visible(folder)]
    assert [file.is_final for file in files] == [True] * (PAGES - 1) + [False]
    for file in files:
        content = (folder / file.name).read_bytes()
        assert (file.bytes, file.rows) == (len(content), content.count(b"\n"))
        assert file.sha256 == sha256(content).hexdigest()
        assert (file.key, file.generation) == (Key(*ENTITY, "posts"), 1)
        assert file.created_at.tzinfo is UTC
    recovered = await call(site, store, sink.recover)
    assert (recovered.finished, recovered.deleted) == ((), ())
    assert all(file.is_final for file in await call(site, store, sink.files))


@pytest.mark.parametrize("database", ["file"])
async def test_a_commit_without_rows_makes_no_file(site: Site, folder: Path) -> None:
    store = await site.open()
    await mine(store, JsonLines(folder))
    await mine(store, JsonLines(folder))
    assert len(visible(folder)) == PAGES


@pytest.mark.parametrize("database", FILES)
async def test_live_batches_write_files_too(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder)
    async with store.lease(*ENTITY) as lease, lease.live("posts", at="at") as live:
        event = {"id": 1, "at": datetime(2024, 1, 1, tzinfo=UTC).isoformat()}
        async with live.batch([event]).commit() as tx:
            for item in await tx.fresh([event], key="id"):
                sink.write(getattr(tx, "_thing", tx), item)
    assert ids(folder) == [1]


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("format_", ["lines", "columns"])
async def test_the_row_of_a_failed_attempt_is_in_no_file_until_its_retry(
    site: Site, folder: Path, format_: str
) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    bad = {1, 2, 6, 7, 8}  # among others all of one page

    def attempt(sink: Any, tx: Any, item: dict[str, Any]) -> None:
        is_odd = item["id"] in {2, 8} & bad  # Parquet refuses these by itself, at once
        try:
            sink.write(tx, {**item, "text": 5} if is_odd else item)
        except UsageError as error:
            assert is_odd
            raise Stop from error
        if item["id"] in bad - ({2, 8} if format_ == "columns" else set()):
            raise Stop

    async def attempt_all() -> None:
        lines = format_ == "lines"
        sink: Any = JsonLines(folder) if lines else Parquet(folder, schema=SCHEMA, row_group=1)
        retry = belaypin.Retry(backoff="10s", jitter=0)
        async with store.lease(*ENTITY) as lease:
            async for window in lease.windows("posts", since="1d", retry=retry):
                async for page in window.pages(fetch):
                    async with page.commit() as tx:
                        for item in await tx.fresh(page.items, key="id"):
                            async with tx.attempt(item):
                                attempt(sink, getattr(tx, "_thing", tx), item)

    await attempt_all()
    assert ids(folder) == sorted({*ALL} - bad)
    assert (len(visible(folder)), hidden(folder)) == (PAGES - 1, [])
    bad.clear()
    clock.advance(60)
    await attempt_all()
    assert (ids(folder), hidden(folder)) == (ALL, [])
    for sink in (JsonLines(folder), Parquet(folder, schema=SCHEMA)):
        assert (await call(site, store, sink.verify)).ok


def test_a_file_is_durable_before_the_commit_and_named_after_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noting(step: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            steps.append(step)
            return real(*args)

        return noted

    with belaypin.open(f"sqlite:///{folder.parent}/s.db") as store, store.lease(*ENTITY) as lease:
        sink = JsonLines(folder)
        page = next(next(lease.windows("posts", since="1d")).pages(fetch))
        monkeypatch.setattr(disk.Output, "sync", noting("sync file", disk.Output.sync))
        syncing = noting("sync directory", disk.sync_directory)
        monkeypatch.setattr("belaypin.sinks.part.sync_directory", syncing)
        monkeypatch.setattr("belaypin.sinks.part.rename", noting("rename", disk.rename))
        monkeypatch.setattr(SqliteBackend, "commit", noting("commit", SqliteBackend.commit))
        with page.commit() as tx:
            sink.write(tx, {"id": 1})
        assert steps == ["sync file", "sync directory", "commit", "rename"]


# --- what fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize("database", ["file"])
@pytest.mark.parametrize("step", ["write", "sync", "directory"])
async def test_a_full_disk_before_the_commit_undoes_it(
    site: Site, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await site.open()
    sink = JsonLines(folder)
    places = {"write": "disk.Output.write", "sync": "disk.Output.sync"}
    with monkeypatch.context() as patch:
        place = places.get(step, "part.sync_directory")
        patch.setattr(f"belaypin.sinks.{place}", refusal(errno.ENOSPC))
        with pytest.raises(StoreFull, match="First make room"):
            await mine(store, sink)
    assert (visible(folder), hidden(folder)) == ([], [])
    await mine(store, sink)
    assert ids(folder) == ALL


@pytest.mark.parametrize("database", FILES)
async def test_a_disk_that_fails_after_the_commit_loses_nothing(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await site.open()
    with monkeypatch.context() as patch:
        patch.setattr("belaypin.sinks.part.rename", refusal(errno.EIO))
        with pytest.raises(StoreUnavailable, match="committed and durable"):
            await mine(store, JsonLines(folder))
    assert (ids(folder), len(hidden(folder))) == ([], 1)
    report = await call(site, store, JsonLines(folder).verify)
    assert [finding.kind for finding in report.findings] == ["file-unnamed"]
    await mine(store, JsonLines(folder))  # its first commit names the older file too
    assert ids(folder) == ALL
    assert hidden(folder) == []
    assert (await call(site, store, JsonLines(folder).verify)).ok


@pytest.mark.parametrize("database", ["file"])
async def test_what_was_not_written_can_not_be_committed(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await site.open()
    with monkeypatch.context() as patch:
        patch.setattr("belaypin.sinks.disk.Output.write", refusal(errno.ENOSPC))
        with pytest.raises(StoreUnavailable, match="could not be written"):
            await mine(store, Swallows(folder))
    await mine(store, JsonLines(folder))
    assert ids(folder) == ALL


class Swallows(JsonLines):
    def write(self, tx: Any, row: Any) -> None:
        try:
            super().write(tx, row)
        except StoreFull:
            pass


def refusal(number: int) -> Callable[..., Any]:
    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("database", ["file"])
@pytest.mark.parametrize(
    ("took_place", "can_be_looked_up"), [(True, True), (True, False), (False, False)]
)
async def test_a_commit_whose_answer_is_lost(
    site: Site,
    folder: Path,
    took_place: bool,
    can_be_looked_up: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = await site.open()
    real = SqliteBackend.commit
    losing = 0

    def lost(self: Any, transaction: Any) -> None:
        nonlocal losing
        files = transaction.connection.execute("SELECT count(*) FROM belaypin_file").fetchone()
        if files == (0,) or (losing and can_be_looked_up):
            return real(self, transaction)
        losing += 1
        real(self, transaction) if took_place else self.rollback(transaction)
        raise StoreUnavailable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteBackend, "commit", lost)
        patch.setattr(f"belaypin._{site.colour}.commit._OUTCOME_PAUSE_S", 0)
        if can_be_looked_up:
            await mine(store, JsonLines(folder))
            assert ids(folder) == ALL
        else:
            with pytest.raises(StoreUnavailable):
                await mine(store, JsonLines(folder))
            assert len(hidden(folder)) == 1  # left to whoever knows
    assert losing
    await mine(store, JsonLines(folder))
    assert (ids(folder), hidden(folder)) == (ALL, [])


async def test_a_database_that_refuses_the_commit_leaves_no_part(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder)
    with pytest.raises(SqlError):
        await mine(store, sink, sql="INSERT INTO nowhere VALUES (1)")
    assert (visible(folder), hidden(folder)) == ([], [])


@pytest.mark.parametrize("database", FILES)
async def test_a_fenced_worker_leaves_nothing(site: Site, folder: Path) -> None:
    clock = FixedClock()
    store, other = await site.open(clock=clock), await site.open(clock=clock)

    async def mine_slowly(sink: JsonLines) -> None:
        async with store.lease(*ENTITY, ttl_s=5) as lease:
            async for window in lease.windows("posts", since="1d"):
                async for page in window.pages(fetch):
                    async with page.commit() as tx:
                        sink.write(getattr(tx, "_thing", tx), page.items[0])
                        clock.advance(60)
                        await mine(other, JsonLines(folder))

    with pytest.raises(Fenced):
        await mine_slowly(JsonLines(folder))
    assert (ids(folder), hidden(folder)) == (ALL, [])


# --- whose part is it -----------------------------------------------------------------------------


@pytest.mark.parametrize("database", FILES)
async def test_a_live_workers_part_is_never_touched(site: Site, folder: Path) -> None:
    store, other = await site.open(), await site.open()
    sink = JsonLines(folder, name="posts")
    async with store.lease(*ENTITY, role="live") as lease:
        async for window in lease.windows("posts", since="1d"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    sink.write(getattr(tx, "_thing", tx), {"id": -page.items[0]["id"] - 1})
                    before = hidden(folder)
                    if site.url.startswith("postgresql"):  # SQLite has one writer at a time
                        await mine(other, JsonLines(folder, name="posts"), entity=("shop", "u:8"))
                    survey = await call(site, other, JsonLines(folder, name="posts").recover)
                    assert survey.deleted == ()
                    assert hidden(folder) == before != []
    assert hidden(folder) == []
    assert [number for number in ids(folder) if number < 0] == [-10, -7, -4, -1]


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("is_named", [True, False])
async def test_a_part_that_is_committed_while_we_look_is_kept(
    site: Site, folder: Path, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await site.open()
    sink = JsonLines(folder)
    listed: list[Any] = []

    class Looked(JsonLines):
        def write(self, tx: Any, row: Any) -> None:
            super().write(tx, row)
            listed.extend(part for part in self._parts(epoch) if part not in listed)

    ((epoch,),) = await site.query("SELECT value FROM belaypin_meta WHERE name = 'epoch'")
    with monkeypatch.context() as patch:
        if not is_named:
            patch.setattr("belaypin.sinks.part.rename", lambda *_: False)  # as if killed before it
        await mine(store, Looked(folder))
    assert len(listed) == PAGES
    monkeypatch.setattr(JsonLines, "_parts", lambda *_: listed)
    recovered = await call(site, store, sink.recover)
    assert (len(recovered.finished), recovered.deleted) == (0 if is_named else PAGES, ())
    assert (ids(folder), hidden(folder)) == (ALL, [])


@pytest.mark.parametrize("database", FILES)
async def test_only_parts_of_this_store_and_sink_are_deleted(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder, name="posts")
    ((epoch,),) = await site.query("SELECT value FROM belaypin_meta WHERE name = 'epoch'")
    ours = f".posts.{epoch}.1.5.{'0' * 16}.jsonl.part"
    others = [
        f".posts.{'e' * 32}.1.5.{'0' * 16}.jsonl.part",  # of another store
        f".post.{epoch}.1.5.{'0' * 16}.jsonl.part",
        f".posts.{epoch}.1.5.{'0' * 16}.parquet.part",  # of another sink
        f".posts.{epoch}.1.5.{'0' * 16}.jsonl.part.bak",
        ".posts.part",
        ".hidden",
    ]
    for name in (ours, *others):
        (folder / name).write_text("x")
    (folder / f"posts-1-00000001-{'0' * 16}.jsonl").write_text("{}\n")
    report = await call(site, store, sink.verify)
    assert [finding.kind for finding in report.findings] == ["file-unknown", "part-left"]
    recovered = await call(site, store, sink.recover)
    assert recovered.deleted == (ours,)
    assert hidden(folder) == sorted(others)


@pytest.mark.parametrize("database", FILES)
async def test_verify_finds_what_is_missing_or_changed(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder)
    await mine(store, sink)
    await call(site, store, sink.recover)
    first, second, third, _ = visible(folder)
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    third.write_bytes(third.read_bytes().replace(b"6", b"7"))
    report = await call(site, store, sink.verify)
    assert not report.ok
    assert [(finding.kind, finding.where) for finding in report.findings] == [
        ("file-changed", first.name),
        ("file-missing", second.name),
        ("file-changed", third.name),
    ]
    assert "errors" in str(report)
    json.dumps(report.as_dict())


# --- use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", FILES)
async def test_only_the_commit_of_a_page_takes_files(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder)
    async with store.once("operation") as op:
        with pytest.raises(UsageError, match="commit of a page or a batch"):
            sink.write(getattr(op.tx, "_thing", op.tx), {})
    async with store.lease(*ENTITY) as lease:
        async for window in lease.windows("posts", since="1d"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
                    sink.write(getattr(tx, "_thing", tx), {"id": 1})
                with pytest.raises(UsageError, match="has ended"):
                    sink.write(getattr(tx, "_thing", tx), {"id": 2})


def test_a_joined_transaction_is_refused(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "store.db"
    sink = JsonLines(tmp_path / "out")
    with belaypin.open(f"sqlite:///{path}") as store, store.lease(*ENTITY) as lease:
        mine = sqlite3.connect(path)
        page = next(next(lease.windows("posts", since="1d")).pages(fetch))
        with (
            pytest.raises(UsageError, match="transaction of your own"),
            page.commit(store.joined(mine)) as tx,
        ):
            sink.write(tx, {"id": 1})
        mine.rollback()
        mine.close()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "é", "a\n", "a.b", "x" * 65])
def test_no_name_leaves_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="A sink's name is"):
        JsonLines(tmp_path, name=name)


@pytest.mark.parametrize("database", ["memory"])
async def test_hostile_keys_and_ids_name_no_file(site: Site, folder: Path) -> None:
    store = await site.open()
    sink = JsonLines(folder, name="posts")
    entity = ("../../etc", "pass/wd\\..")
    await mine(store, sink, entity=entity)
    assert [path.name[:8] for path in visible(folder)] == ["posts-2-"] * PAGES
    assert (await call(site, store, sink.files))[0].key == Key(*entity, "posts")


@dataclass
class Post:
    id: int
    at: datetime


@dataclass
class Wide:
    width: float


class Struct(msgspec.Struct):
    id: int


class Model(pydantic.BaseModel):
    id: int


class Written:
    """Rows written to a file without a store."""

    def __init__(self, folder: Path) -> None:
        self.output = disk.Output(folder / "rows")
        self.encoder = JsonLines(folder, name="x")._encoder(self.output)

    def lines(self, *rows: Any) -> list[Any]:
        for row in rows:
            self.encoder.write(self.encoder.take(row))
        self.output.sync()
        text = Path(self.output._file.name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n")[:-1]]


def test_rows_of_every_type(tmp_path: Path) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    rows = [Post(1, at), Struct(2), Model(id=3), {"b": None, "a": [1]}, "text", None, 5]
    assert Written(tmp_path).lines(*rows) == [
        {"id": 1, "at": "2024-01-01T00:00:00Z"},
        {"id": 2},
        {"id": 3},
        {"b": None, "a": [1]},
        "text",
        None,
        5,
    ]


@pytest.mark.parametrize(
    "row", [{"n": float("nan")}, [float("inf")], {1j}, {"t": "\ud800"}, Wide(float("nan"))]
)
def test_rows_that_json_can_not_hold_are_refused(tmp_path: Path, row: Any) -> None:
    written = Written(tmp_path)
    with pytest.raises(UsageError):
        written.encoder.take(row)
    assert written.lines({"id": 1}) == [{"id": 1}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=5))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    written = Written(tmp_path_factory.mktemp("rows"))
    assert written.lines(*rows) == rows
    path = Path(written.output._file.name)
    assert disk.digest(path) == (written.output.bytes, written.output.sha256)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": 1, "txet": "x"}, "txet"),
        ({"id": "one"}, "won't do for Parquet"),
        ({"id": 1.5}, "won't do for Parquet"),
        ({"text": "x"}, "never null"),
        ([1], "must be a mapping"),
    ],
)
async def test_parquet_refuses_what_is_not_in_its_schema(
    tmp_path: Path, row: Any, says: str
) -> None:
    sink = Parquet(tmp_path / "out", schema=SCHEMA)
    with belaypin.open("sqlite:///:memory:") as store, store.lease(*ENTITY) as lease:
        page = next(next(lease.windows("posts", since="1d")).pages(fetch))
        with pytest.raises(UsageError, match=says):
            commit(sink, page, {"id": 1, "text": "good"}, row)
    assert list((tmp_path / "out").iterdir()) == []


AT = datetime(2024, 1, 1, 5, 0, 0, 7, tzinfo=UTC)
POINT = pa.struct([("x", pa.int8()), ("y", pa.int8())])


@pytest.mark.parametrize(
    ("type_", "kept", "lost"),
    [
        (pa.int64(), 2**62 + 1, 1.5),
        (pa.timestamp("us", tz="UTC"), AT, AT.replace(tzinfo=None).isoformat()),
        (pa.timestamp("s", tz="UTC"), AT.replace(microsecond=0), AT),
        (pa.timestamp("us"), AT.replace(tzinfo=None), AT),
        (pa.date32(), AT.date(), AT),
        (pa.list_(pa.int64()), [1, 2], [1, 2.5]),
        (POINT, {"x": 1, "y": 2}, {"x": 1, "z": 2}),
        (POINT, {"x": 1, "y": None}, {"x": 1.5}),
        (pa.map_(pa.string(), pa.int64()), {"a": 1}, {"a": 1.5}),
        (pa.decimal128(5, 2), Decimal("1.23"), Decimal("1.234")),
        (pa.string(), "é", b"\xff"),
    ],
)
def test_no_value_is_cut_to_fit_its_column(
    tmp_path: Path, type_: Any, kept: Any, lost: Any
) -> None:
    sink = Parquet(tmp_path / "out", schema=pa.schema([("v", type_)]))
    with belaypin.open("sqlite:///:memory:") as store, store.lease(*ENTITY) as lease:
        page = next(next(lease.windows("posts", since="1d")).pages(fetch))
        with pytest.raises(UsageError, match="'v'"):
            commit(sink, page, {"v": kept}, {"v": lost})
        commit(sink, page, {"v": kept}, {"v": None}, {})
    (path,) = visible(tmp_path / "out")
    first, *rest = pq.read_table(path).column("v").to_pylist()
    assert (dict(first) if isinstance(kept, dict) else first) == kept
    assert rest == [None, None]


def commit(sink: Parquet, page: belaypin.Page, *rows: Any) -> None:
    with page.commit() as tx:
        for row in rows:
            sink.write(tx, row)


def test_parquet_needs_an_explicit_schema(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pyarrow\.Schema"):
        Parquet(tmp_path, schema={"id": int})
    with pytest.raises(UsageError, match="row_group"):
        Parquet(tmp_path, schema=SCHEMA, row_group=0)
