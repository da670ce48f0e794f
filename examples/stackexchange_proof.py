"""Kill the miner, let it resume, and prove its tables from the outside.

Nothing here knows belaypin: the dump is read with another XML parser than the miner's site uses,
the tables with the plain database driver. `compare` counts, per table, the rows that are

- lost: in the dump, not in the table;
- duplicates: in the table more than once;
- stale: in the table, but not as the dump has them (a late edit was missed);
- strange: in the table, not in the dump (or not yet, in an earlier edition).
"""

from __future__ import annotations

import json
import math
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.parsers import expat

__all__ = ["MinerFailed", "Proof", "Run", "Table", "compare", "run", "show"]

Row = tuple[str | None, ...]

START_UP_S = 0.3
"""A kill that is due from the start falls at a random moment of this time, or at the latest soon
after the first commit."""
JITTER_S = 0.02
"""How long after a due point a kill falls, at most: about the time of a few commits."""


class MinerFailed(Exception):
    """The miner ended by itself with an error: see what it printed above."""


_HEADINGS = {
    "expected": "in dump",
    "items": "in table",
    "lost": "lost",
    "duplicates": "duplicates",
    "stale": "stale",
    "strange": "strange",
}


@dataclass(frozen=True)
class Source:
    """Where the rows of a table come from, and how they are read back."""

    file: str
    attributes: tuple[str, ...]  # after the id and, but for profiles, the owner
    query: str


_SOURCES = {
    "profiles": Source(
        "Users.xml",
        ("DisplayName", "Location", "AboutMe"),
        "SELECT id, name, location, about FROM profiles",
    ),
    "posts": Source(
        "Posts.xml",
        ("CreationDate", "LastEditDate", "Title", "Body", "Tags"),
        "SELECT id, owner, created, edited, title, body, tags FROM posts",
    ),
    "comments": Source(
        "Comments.xml",
        ("CreationDate", "PostId", "Text"),
        "SELECT id, owner, created, post_id, body FROM comments",
    ),
    "votes": Source(
        "Votes.xml",
        ("CreationDate", "PostId", "VoteTypeId"),
        "SELECT id, owner, day, post_id, kind FROM votes",
    ),
    "badges": Source(
        "Badges.xml",
        ("Date", "Name", "Class"),
        "SELECT id, owner, awarded, name, class FROM badges",
    ),
}

# --- what the tables must hold -----------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """The verdict on one table, in rows."""

    name: str
    expected: int
    items: int
    lost: int
    duplicates: int
    stale: int
    strange: int


@dataclass(frozen=True)
class Proof:
    """The verdict on all tables."""

    tables: tuple[Table, ...]

    def total(self, what: str) -> int:
        """The sum of one of the columns of `Table`."""
        return sum(getattr(table, what) for table in self.tables)

    @property
    def missing(self) -> int:
        """Rows that a miner has still to write or to correct."""
        return self.total("lost") + self.total("stale")

    @property
    def holds(self) -> bool:
        """Every row of the dump is in its table, exactly once and as the dump has it."""
        return not any(self.total(fault) for fault in ("lost", "duplicates", "stale", "strange"))


def compare(dump: Path, store_url: str, as_of: datetime | None = None) -> Proof:
    """Hold the dump (or its edition of `as_of`) against the tables in the database."""
    return Proof(
        tuple(
            _verdict(table, expected, _stored(store_url, table))
            for table, expected in _expected(dump, as_of).items()
        )
    )


def _verdict(table: str, expected: dict[str | None, Row], stored: list[Row]) -> Table:
    count = Counter(row[0] for row in stored)
    right = {row[0] for row in stored if expected.get(row[0]) == row}
    return Table(
        name=table,
        expected=len(expected),
        items=len(stored),
        lost=len(expected.keys() - count.keys()),
        duplicates=len(stored) - len(count),
        stale=len((expected.keys() & count.keys()) - right),
        strange=len(count.keys() - expected.keys()),
    )


def _expected(dump: Path, as_of: datetime | None) -> dict[str, dict[str | None, Row]]:
    """Per table, what it must hold: id -> row, straight from the XML."""
    limit = as_of.replace(tzinfo=None).isoformat() if as_of else "9999"
    users = {row["Id"] for row in _scan(dump / "Users.xml")}
    writers = {row["Id"]: row.get("OwnerUserId") for row in _scan(dump / "Posts.xml")}

    def owner(table: str, row: dict[str, str]) -> Row:
        if table == "profiles":
            return ()
        if table == "votes":
            user = writers.get(row["PostId"])
        else:
            user = row.get("OwnerUserId" if table == "posts" else "UserId")
        return (user if user in users else "nobody",)

    return {
        table: {
            row["Id"]: (row["Id"], *owner(table, row), *(row.get(a) for a in source.attributes))
            for row in _scan(dump / source.file, limit)
        }
        for table, source in _SOURCES.items()
    }


def _scan(file: Path, limit: str = "9999") -> list[dict[str, str]]:
    """The rows of one file that were there before `limit`, as they were then."""
    rows: list[dict[str, str]] = []

    def element(tag: str, row: dict[str, str]) -> None:
        if tag == "row" and _appeared(file.name, row) < limit:
            if row.get("LastEditDate", "") >= limit:
                del row["LastEditDate"]
            rows.append(row)

    parser = expat.ParserCreate()
    parser.StartElementHandler = element
    with file.open("rb") as opened:
        parser.ParseFile(opened)
    return rows


def _appeared(file: str, row: dict[str, str]) -> str:
    """The moment a row became visible, as text. A vote comes at some second of its day."""
    moment = row["Date" if file == "Badges.xml" else "CreationDate"]
    if file == "Votes.xml":
        second = int(row["Id"]) * 7919 % 86400
        return f"{moment[:10]}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return moment


def _stored(store_url: str, table: str) -> list[Row]:
    """All rows of one table, each value as text, by the plain driver. No table yet: no rows."""
    query = _SOURCES[table].query
    if store_url.startswith("postgresql"):
        found = _ask_postgres(store_url, table, query)
    else:
        found = _ask_sqlite(Path(unquote(store_url.removeprefix("sqlite:///"))), table, query)
    return [tuple(None if value is None else str(value) for value in row) for row in found]


def _ask_sqlite(file: Path, table: str, query: str) -> list[tuple[Any, ...]]:
    if not file.exists():
        return []
    with closing(sqlite3.connect(file, timeout=10)) as db:
        known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return db.execute(query).fetchall() if db.execute(known, (table,)).fetchone() else []


def _ask_postgres(url: str, table: str, query: str) -> list[tuple[Any, ...]]:
    import psycopg  # only who uses PostgreSQL has it

    with psycopg.connect(url) as db:
        known = db.execute("SELECT to_regclass(%s)", (table,)).fetchone()
        return db.execute(query).fetchall() if known and known[0] else []


# --- killing -----------------------------------------------------------------------------------


@dataclass
class Run:
    """What happened while the miner ran."""

    new: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    """Items that were read and found to be committed already."""
    kills: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    """Per life that got so far: from spawning the process to its first commit of rows."""
    elapsed_s: float = 0.0

    @property
    def rows(self) -> int:
        """Rows stored so far, by what the miner said."""
        return self.new.total() + self.changed.total()

    def add(self, stream: str, new: int, changed: int, skipped: int) -> None:
        """Count one commit, as the miner reports it."""
        self.new[stream] += new
        self.changed[stream] += changed
        self.skipped += skipped

    def recovery_s(self, share: float) -> float | None:
        """The recovery time that this share (0.5, 0.99, 1) of the lives stayed within."""
        ranked = sorted(self.recoveries_s)
        return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else None


def run(worker: Sequence[str], *, kills: int, rows: int, seed: int) -> Run:
    """Run the miner to its end, through `kills` SIGKILLs spread at random over its `rows` rows.

    The moments are random in two ways: after how many rows, and how long after that. Where two
    of them fall together, the second one meets the next life while it still starts up.
    """
    chance = random.Random(seed)
    due = sorted((chance.random() * rows for _ in range(kills)), reverse=True)
    result = Run()
    started = time.monotonic()
    while due:
        if _life(worker, result, due[-1], chance):
            due = [0.0] * len(due)  # it ended before the kill fell: the rest meets it starting up
        else:
            due.pop()
            result.kills += 1
    _life(worker, result, math.inf, chance)
    result.elapsed_s = time.monotonic() - started
    return result


def _life(worker: Sequence[str], result: Run, due: float, chance: random.Random) -> bool:
    """One process, killed soon after the run has stored `due` rows; True if it finished first."""
    started = time.monotonic()
    with subprocess.Popen(worker, stdout=subprocess.PIPE, text=True) as child:
        fuses = [_Fuse(chance, START_UP_S, child)] if due <= result.rows else []
        is_aimed = recovered = False
        for line in child.stdout or ():
            stored_before = result.rows
            result.add(*json.loads(line))
            if not recovered and result.rows > stored_before:
                result.recoveries_s.append(time.monotonic() - started)
                recovered = True
            if due <= result.rows and not is_aimed:
                fuses.append(_Fuse(chance, JITTER_S, child))
                is_aimed = True
        status = child.wait()
        for fuse in fuses:
            fuse.cancel()
    if status not in (0, -signal.SIGKILL):
        raise MinerFailed(f"the miner ended with status {status}: see its error above")
    return status == 0


class _Fuse(threading.Timer):
    """Kills the process at a random moment within so many seconds."""

    def __init__(
        self, chance: random.Random, within_s: float, child: subprocess.Popen[str]
    ) -> None:
        super().__init__(chance.random() * within_s, child.kill)
        self.start()


# --- telling -----------------------------------------------------------------------------------


def show(proof: Proof, run: Run, *, as_json: bool) -> None:
    """Print the verdict: a table for people, or one JSON object."""
    print(json.dumps(_as_object(proof, run)) if as_json else _as_text(proof, run))


def _as_object(proof: Proof, run: Run) -> dict[str, Any]:
    totals = {column: proof.total(column) for column in _HEADINGS}
    return {
        "streams": {table.name: asdict(table) for table in proof.tables},
        **totals,
        "new": run.new.total(),
        "changed": run.changed.total(),
        "skipped": run.skipped,
        "kills": run.kills,
        "elapsed_s": run.elapsed_s,
        "recovery_p50_s": run.recovery_s(0.5),
        "recovery_p99_s": run.recovery_s(0.99),
        "recovery_max_s": run.recovery_s(1.0),
    }


def _as_text(proof: Proof, run: Run) -> str:
    rows = [("stream", *_HEADINGS.values())]
    rows += [(table.name, *(getattr(table, name) for name in _HEADINGS)) for table in proof.tables]
    lines = ["".join(f"{cell!s:>11}" for cell in row) for row in rows]
    stored = (
        f"{run.new.total()} rows new, {run.changed.total()} changed" if run.rows else "nothing new"
    )
    lines.append(f"{stored}, {run.skipped} known; {run.kills} kills, {run.elapsed_s:.1f} s")
    if run.kills and run.recoveries_s:
        shares = ((0.5, "p50"), (0.99, "p99"), (1.0, "max"))
        times = ", ".join(f"{name} {run.recovery_s(share):.3f} s" for share, name in shares)
        lines.append(f"process start to first new commit: {times} ({len(run.recoveries_s)} lives)")
    lines.append("proven: every row once" if proof.holds else "FAILED: see the columns above")
    return "\n".join(lines)
