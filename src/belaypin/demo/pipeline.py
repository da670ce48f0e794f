"""The history of a git repository once more, as a Pipeline: what ``belaypin drill demo`` drills."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from hashlib import sha256
from operator import itemgetter
from typing import Any

import belaypin

from . import tables
from .errors import CannotRun
from .git import locate
from .source import Author, Item, Page, Source
from .survey import survey

__all__ = ["clean_up", "pipeline"]

_PAGE = 25
_OVERLAP = timedelta(
    days=365 * 9000
)  # as in the miner: fetching a branch brings commits of any age
_PREFIX = "belaypin-drill-"

pipeline = belaypin.Pipeline("git-history")


@pipeline.setup
def make_tables(store: belaypin.Store) -> None:
    """The tables that the miner fills."""
    for statement in tables.CREATE:
        store.execute(statement)


@pipeline.entities
def authors() -> Iterator[str]:
    """Who has written the history."""
    yield from _authors()


@pipeline.source("commits", since="beginning", overlap=_OVERLAP, at="committed_at")
def commits(author: str, window: belaypin.Window, cursor: Any) -> Page:
    """A page of an author's commits."""
    return _source().commits(_authors()[author], window.start, _PAGE, cursor)


@pipeline.items("commits")
def insert_commits(tx: belaypin.Work, items: list[Item]) -> None:
    """A row for each commit."""
    _insert(tx, tables.COMMITS, items)


@pipeline.source(
    "files",
    since="beginning",
    overlap=_OVERLAP,
    at="committed_at",
    key=itemgetter("commit_id", "path"),
)
def files(author: str, window: belaypin.Window, cursor: Any) -> Page:
    """A page of the files that an author's commits have changed."""
    return _source().files(_authors()[author], window.start, _PAGE, cursor)


@pipeline.items("files")
def insert_files(tx: belaypin.Work, items: list[Item]) -> None:
    """A row for each changed file."""
    _insert(tx, tables.FILES, items)


def _insert(tx: belaypin.Work, table: tables.Table, items: list[Item]) -> None:
    tx.copy(table.name, table.columns, list(map(itemgetter(*table.columns), items)))


@cache
def _authors() -> dict[str, Author]:
    return {author.key: author for author in _source().authors(after=0)}


@cache
def _source() -> Source:
    """The history, sorted into a file in the git folder by the first process that needs it."""
    found = locate(None)
    if found is None:
        raise CannotRun("This folder is in no git repository: change to one.")
    git, folder = found
    tips = folder / f"{_PREFIX}{os.getpid()}.tips"
    git.tips(tips)
    path = folder / f"{_PREFIX}{sha256(tips.read_bytes()).hexdigest()[:16]}.db"
    if not path.exists():
        mine = tips.with_suffix(".db")
        survey(mine, git, tips, lambda _: None)
        mine.rename(path)
    for left in folder.glob(f"{_PREFIX}{os.getpid()}.*"):
        left.unlink()
    return Source(path)


def clean_up() -> None:
    """Drop the sorted history from the git folder; whoever needs it again makes it again."""
    found = locate(None)
    for left in found[1].glob(f"{_PREFIX}*") if found else ():
        left.unlink(missing_ok=True)
