"""One pass over the history: git's own report, sorted into the scratch file of `source`."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .git import Git
from .source import SCHEMA
from .text import shortened, text_of

__all__ = ["author_key", "survey"]

_FIELDS = "%an %ae %ct %at %s"
_REPORT_EVERY = 1000
_SUBJECT_MAX_CHARS = 200
_LAST_SECOND = 253_402_214_400
"""9999-12-31 UTC. Git takes any time that anybody writes into a commit; calendars do not."""

_FAST = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -64000;"

_SUM_UP = """
UPDATE authors SET
    (commits, first_s, last_s) = (
        SELECT count(*), min(committed_s), max(committed_s) FROM commits AS c
        WHERE c.author = authors.author
    ),
    files = (SELECT count(*) FROM files AS f WHERE f.author = authors.author)
"""


def author_key(name: bytes, email: bytes) -> str:
    """Return the name of an author's checkpoints and rows: what git says, made short enough.

    >>> author_key(b"Ada", b"ada@example.org")
    'Ada <ada@example.org>'
    """
    return shortened(text_of(name + b" <" + email + b">"), max_bytes=400)


def survey(path: Path, git: Git, tips: Path, progress: Callable[[int], None]) -> None:
    """Write the scratch file at ``path``; tell ``progress`` of each thousand commits."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        # The file is made anew by each run: nothing of it needs to survive one.
        db.executescript(_FAST + SCHEMA)
        db.execute("BEGIN")
        commits = path.with_suffix(".commits")
        _write_commits(db, git, tips, commits)
        snapshot = _write_files(db, git, commits, progress)
        db.execute(_SUM_UP)
        db.execute("INSERT INTO meta VALUES (?)", (snapshot,))
        db.execute("COMMIT")
    finally:
        db.close()


def _write_commits(db: sqlite3.Connection, git: Git, tips: Path, into: Path) -> None:
    numbers: dict[tuple[bytes, bytes], int] = {}
    with into.open("w", encoding="ascii") as ids:

        def rows() -> Iterator[tuple[Any, ...]]:
            for commit, (name, email, committed, authored, subject) in git.commits(tips, _FIELDS):
                ids.write(f"{commit}\n")
                number = numbers.setdefault((name, email), len(numbers) + 1)
                text = text_of(subject)[:_SUBJECT_MAX_CHARS]
                yield commit, number, _seconds(committed), _seconds(authored), text

        db.executemany(
            "INSERT INTO commits (id, author, committed_s, authored_s, subject)"
            " VALUES (?, ?, ?, ?, ?)",
            rows(),
        )
    db.executemany(
        "INSERT INTO authors (author, key, name, email) VALUES (?, ?, ?, ?)",
        ((n, author_key(*who), text_of(who[0]), text_of(who[1])) for who, n in numbers.items()),
    )


def _write_files(
    db: sqlite3.Connection, git: Git, commits: Path, progress: Callable[[int], None]
) -> str:
    """Write the changed files; return a digest of the history, its snapshot's name."""
    digest = hashlib.sha256()

    def rows() -> Iterator[tuple[Any, ...]]:
        done = 0
        history = db.execute("SELECT id, author, committed_s FROM commits ORDER BY position")
        here, author, committed_s = "", 0, 0
        for change in git.changes(commits):
            while here != change.commit:  # git lists changes in the order of the commits
                here, author, committed_s = next(history)
                digest.update(here.encode())
                done += 1
                if done % _REPORT_EVERY == 0:
                    progress(_REPORT_EVERY)
            digest.update(change.path)
            yield author, committed_s, here, text_of(change.path), change.status
        for here, _, _ in history:
            digest.update(here.encode())

    # A broken tree may name a path twice; it is one item.
    db.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?, ?)", rows())
    return digest.hexdigest()


def _seconds(field: bytes) -> int:
    return min(max(int(field or b"0"), 0), _LAST_SECOND)
