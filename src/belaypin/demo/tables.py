"""The tables that the miner fills: plain ones without a unique key, so that a duplicate shows."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ALL", "COMMITS", "CREATE", "FILES", "PROFILES", "Table"]


class Table(NamedTuple):
    """One table; what makes a row itself, and what has to be right in it as well."""

    stream: str
    name: str
    columns: tuple[str, ...]
    identity: tuple[str, ...]
    witness: tuple[str, ...]


PROFILES = Table(
    stream="profiles",
    name="demo_profiles",
    columns=("author", "name", "email", "commits", "first_commit_at", "last_commit_at"),
    identity=("author",),
    witness=("commits",),
)
COMMITS = Table(
    stream="commits",
    name="demo_commits",
    columns=("id", "author", "committed_at", "authored_at", "subject"),
    identity=("id",),
    witness=("author",),
)
FILES = Table(
    stream="files",
    name="demo_files",
    columns=("commit_id", "path", "status", "author", "committed_at"),
    identity=("commit_id", "path"),
    # Not the status: it depends on the parent, which a shallow repository may come to know later.
    witness=(),
)
ALL = (PROFILES, COMMITS, FILES)

CREATE = (
    "CREATE TABLE IF NOT EXISTS demo_profiles (author TEXT, name TEXT, email TEXT,"
    " commits BIGINT, first_commit_at TEXT, last_commit_at TEXT)",
    # Not unique: it only finds the profile that changed.
    "CREATE INDEX IF NOT EXISTS demo_profiles_author ON demo_profiles (author)",
    "CREATE TABLE IF NOT EXISTS demo_commits (id TEXT, author TEXT, committed_at TEXT,"
    " authored_at TEXT, subject TEXT)",
    "CREATE TABLE IF NOT EXISTS demo_files (commit_id TEXT, path TEXT, status TEXT, author TEXT,"
    " committed_at TEXT)",
)
