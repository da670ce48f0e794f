"""The Stack Exchange example as a pipeline, on whatever engine, and what it leaves in the store."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

import belaypin

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SAMPLE = ROOT / "tests" / "data" / "stackexchange-sample"
REAL = ROOT.parent / "shared" / "data" / "quantumcomputing.stackexchange"
EARLIER = datetime(2018, 7, 1, 12, tzinfo=UTC)

ROWS = {
    "profiles": "SELECT id, name, location, about FROM profiles",
    "posts": "SELECT id, owner, created, edited, title, body, tags FROM posts",
    "comments": "SELECT id, owner, created, post_id, body FROM comments",
    "votes": "SELECT id, owner, day, post_id, kind FROM votes",
    "badges": "SELECT id, owner, awarded, name, class FROM badges",
}
STREAMS = ("posts", "comments", "votes", "badges")


class Left(NamedTuple):
    """What a run leaves: the tables' rows, each stream's ids in its ledger, and its coverage."""

    rows: dict[str, list[tuple[Any, ...]]]
    ledgers: dict[tuple[str, str], list[Any]]
    coverage: dict[tuple[str, str], list[str]]


def mine(url: str, engine: Any, *, dump: Path = SAMPLE, **how: Any) -> list[belaypin.RunReport]:
    """Mine the earlier edition of the site, then the whole one, where later rows and edits arrive."""
    if str(EXAMPLES) not in sys.path:
        sys.path.insert(0, str(EXAMPLES))
    import stackexchange_pipeline as example

    return [example.run(dump, url, as_of, engine=engine, **how) for as_of in (EARLIER, None)]


def left(url: str) -> Left:
    """What is in a store, the rows as the driver alone sees them."""
    rows = {table: sorted(_ask(url, query), key=repr) for table, query in ROWS.items()}
    ledgers, coverage = {}, {}
    with belaypin.open(url) as store:
        for owner, stream in _streams(url):
            key = belaypin.Key("stackexchange", owner, stream)
            ids = [row[0] for row in rows[stream] if row[1] == owner]
            ledgers[owner, stream] = sorted(store.seen(key, ids))
            coverage[owner, stream] = [str(each) for each in store.coverage(key)]
    return Left(rows, ledgers, coverage)


def _streams(url: str) -> list[tuple[str, str]]:
    query = "SELECT entity, stream FROM belaypin_checkpoint WHERE stream <> ''"
    return sorted((owner, stream) for owner, stream in _ask(url, query) if stream in STREAMS)


def _ask(url: str, query: str) -> list[tuple[Any, ...]]:
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            return connection.execute(query.encode()).fetchall()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return connection.execute(query).fetchall()
