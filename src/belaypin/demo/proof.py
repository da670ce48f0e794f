"""The proof: what git reports against what is in the tables, as multisets.

Nothing of belaypin takes part. Git is asked anew, the tables are read with the plain driver, and
the two are compared in a scratch file.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from . import tables
from .git import Git
from .outside import rows
from .survey import author_key
from .text import text_of

__all__ = ["Proof", "Tally", "sum_up"]

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -64000;
CREATE TABLE expected (
    stream TEXT, item TEXT, witness TEXT, PRIMARY KEY (stream, item)
) WITHOUT ROWID;
CREATE TABLE before (stream TEXT, item TEXT, PRIMARY KEY (stream, item)) WITHOUT ROWID;
CREATE TABLE found (
    stream TEXT, item TEXT, witness TEXT, copies INTEGER, PRIMARY KEY (stream, item, witness)
) WITHOUT ROWID;
"""

_EXPECT = "INSERT OR IGNORE INTO expected VALUES (?, ?, ?)"
_REMEMBER = "INSERT OR IGNORE INTO before VALUES (?, ?)"
_COUNT = """
INSERT INTO found VALUES (?, ?, ?, 1)
ON CONFLICT (stream, item, witness) DO UPDATE SET copies = copies + 1
"""

_TALLY = """
WITH
    one AS (SELECT item, sum(copies) AS copies FROM found WHERE stream = :stream GROUP BY item),
    strange AS (
        SELECT EXISTS (SELECT 1 FROM before WHERE stream = :stream AND item = one.item) AS is_old
        FROM one
        WHERE NOT EXISTS (SELECT 1 FROM expected WHERE stream = :stream AND item = one.item)
    ),
    missing AS (
        SELECT 1 FROM expected AS e
        WHERE stream = :stream AND NOT EXISTS (
            SELECT 1 FROM found AS f
            WHERE f.stream = e.stream AND f.item = e.item AND f.witness = e.witness
        )
    )
SELECT
    (SELECT count(*) FROM expected WHERE stream = :stream),
    (SELECT coalesce(sum(copies), 0) FROM one),
    (SELECT count(*) FROM missing),
    (SELECT coalesce(sum(copies - 1), 0) FROM one)
        + (SELECT count(*) FROM strange WHERE NOT is_old),
    (SELECT count(*) FROM strange WHERE is_old),
    (SELECT count(*) FROM expected NATURAL JOIN before WHERE stream = :stream)
"""

_NEW = """
SELECT
    (SELECT count(*) FROM source.authors WHERE NOT EXISTS (
        SELECT 1 FROM before WHERE stream = 'profiles' AND item = key))
  + (SELECT count(*) FROM source.commits WHERE NOT EXISTS (
        SELECT 1 FROM before WHERE stream = 'commits' AND item = id))
  + (SELECT count(*) FROM source.files WHERE NOT EXISTS (
        SELECT 1 FROM before WHERE stream = 'files' AND item = id || ' ' || path))
"""


@dataclass(frozen=True)
class Tally:
    """The result for one stream, in rows.

    A row is *gone from the source* when it was there before the run and git no longer reports it:
    history was rewritten. Any other row too many counts as a duplicate.
    """

    stream: str
    expected: int
    rows: int
    lost: int
    duplicates: int
    gone: int
    skipped: int
    """How many of the expected rows were there before the run."""

    @property
    def items(self) -> int:
        """Rows whose source git still reports, duplicates included."""
        return self.rows - self.gone


def sum_up(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all streams together."""
    figures = ("expected", "rows", "lost", "duplicates", "gone", "skipped")
    return Tally("total", *(sum(map(attrgetter(figure), tallies)) for figure in figures))


class Proof:
    """Compares the tables of a store with a repository, before and after a run."""

    def __init__(self, path: Path, store_url: str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._url = store_url

    def remember(self) -> None:
        """Note what is in the tables before the run."""
        for table in tables.ALL:
            items = ((table.stream, item) for item, _ in self._rows(table))
            self._write(_REMEMBER, items)

    def new_items(self, source: Path) -> int:
        """Return how many items of the source were in no table before the run."""
        self._db.execute("ATTACH ? AS source", (str(source),))
        ((new,),) = self._db.execute(_NEW)
        self._db.execute("DETACH source")
        return int(new)

    def tallies(self, git: Git, tips: Path) -> list[Tally]:
        """Ask git what should be there, read what is there, and compare."""
        self._write(_EXPECT, _expected(git, tips))
        for table in tables.ALL:
            self._write(_COUNT, ((table.stream, *row) for row in self._rows(table)))
        streams = [table.stream for table in tables.ALL]
        return [Tally(s, *self._db.execute(_TALLY, {"stream": s}).fetchone()) for s in streams]

    def close(self) -> None:
        """Close the scratch file."""
        self._db.close()

    def _rows(self, table: tables.Table) -> Iterator[tuple[str, str]]:
        width = len(table.identity)
        for row in rows(self._url, table, table.identity + table.witness):
            yield _text(row[:width]), _text(row[width:])

    def _write(self, sql: str, items: Iterator[tuple[str, ...]]) -> None:
        self._db.execute("BEGIN")
        self._db.executemany(sql, items)
        self._db.execute("COMMIT")


def _text(columns: tuple[Any, ...]) -> str:
    return " ".join(map(str, columns))


def _expected(git: Git, tips: Path) -> Iterator[tuple[str, str, str]]:
    commits_of: Counter[str] = Counter()
    ids = tips.with_suffix(".expected")
    with ids.open("w", encoding="ascii") as file:
        for commit, (name, email) in git.commits(tips, "%an %ae"):
            author = author_key(name, email)
            commits_of[author] += 1
            file.write(f"{commit}\n")
            yield tables.COMMITS.stream, commit, author
    for author, commits in commits_of.items():
        yield tables.PROFILES.stream, author, str(commits)
    for change in git.changes(ids):
        yield tables.FILES.stream, f"{change.commit} {text_of(change.path)}", ""
