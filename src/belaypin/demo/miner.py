"""The pipeline of the demo, written the way a user would. It runs as a child process:

``python -m belaypin.demo.miner SOURCE STORE_URL PAGE_SIZE``

On its standard output it says how many new items each durable commit held, a number a line. It
knows nothing of being killed: what it needs to go on is in the store.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import belaypin

from . import tables
from .errors import CANNOT_RUN
from .source import Author, Item, Page, Source
from .text import shortened

__all__ = ["Miner", "main"]

_NO_SUCH_STORE = (belaypin.UsageError, belaypin.MissingDriver, belaypin.StoreUnavailable)
_PIPELINE = "git-history"
_LEASE_TTL_S = 5
_LEASE_WAIT_S = 60
_PATH_MAX_BYTES = 400

# Fetching a branch brings commits of any age, so no time is over for good: every run looks at all
# of it again, and the ledger skips what was committed.
_OVERLAP = timedelta(days=365 * 9000)
_INNOCENT = belaypin.Retry(isolate_after=None)  # it is not the items that kill this process


@dataclass(frozen=True)
class Miner:
    """Brings the tables up to date with the source."""

    store: belaypin.Store
    source: Source
    page_size: int
    mark: str
    """How the driver writes a parameter in SQL."""

    def run(self) -> None:
        """Mine one author after the other, beginning behind the last one that was finished."""
        for statement in tables.CREATE:
            self.store.execute(statement)
        for author in self.source.authors(after=self._finished()):
            with self._lease(author) as lease:
                self._mine_profile(lease, author)
                self._mine_stream(lease, author, tables.COMMITS, "id", self.source.commits)
                self._mine_stream(lease, author, tables.FILES, _file_key, self.source.files)
            finished = {"snapshot": self.source.snapshot, "author": author.number}
            self.store.save((_PIPELINE,), finished)

    def _lease(self, author: Author) -> belaypin.Lease:
        # Where the store cannot tell that a killed miner is dead, its lease has to run out first.
        return self.store.lease(_PIPELINE, author.key, ttl_s=_LEASE_TTL_S, wait_s=_LEASE_WAIT_S)

    def _finished(self) -> int:
        saved = self.store.load((_PIPELINE,))
        if saved is None or saved.state["snapshot"] != self.source.snapshot:
            return 0
        return int(saved.state["author"])

    def _mine_profile(self, lease: belaypin.Lease, author: Author) -> None:
        profile = _profile(author)
        with lease.changed(tables.PROFILES.stream, profile) as change:
            if not change:
                return
            sql = f"DELETE FROM demo_profiles WHERE author = {self.mark}"  # noqa: S608  # "?" or "%s"
            change.tx.execute(sql, (author.key,))
            _insert(change.tx, tables.PROFILES, [profile])
        _report(1)

    def _mine_stream(
        self,
        lease: belaypin.Lease,
        author: Author,
        table: tables.Table,
        key: str | Callable[[Item], object],
        read: Callable[..., Page],
    ) -> None:
        # A window ends now, but the fetch does not: a commit may be dated in the future, by a clock
        # that was wrong.
        for window in lease.windows(
            table.stream,
            since="beginning",
            overlap=_OVERLAP,
            at="committed_at",
            retry=_INNOCENT,
        ):
            for page in window.pages(partial(read, author, window.start, self.page_size)):
                with page.commit() as tx:
                    fresh = tx.fresh(page.items, key=key)
                    _insert(tx, table, fresh)
                _report(len(fresh))


def main(arguments: list[str]) -> None:
    """Open the source and the store, and mine."""
    source_path, store_url, page_size = arguments
    source = Source(Path(source_path))
    mark = "?" if store_url.startswith("sqlite:") else "%s"
    try:
        with belaypin.open(store_url) as store:
            Miner(store, source, int(page_size), mark).run()
    except belaypin.BelaypinError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(CANNOT_RUN if isinstance(error, _NO_SUCH_STORE) else 1)
    except BrokenPipeError:
        pass  # whoever wanted to know is gone
    finally:
        source.close()


def _insert(tx: Any, table: tables.Table, items: list[Item]) -> None:
    tx.copy(table.name, table.columns, list(map(itemgetter(*table.columns), items)))


def _profile(author: Author) -> Item:
    return {
        "author": author.key,
        "name": author.name,
        "email": author.email,
        "commits": author.commits,
        "first_commit_at": _time(author.first_s).isoformat(),
        "last_commit_at": _time(author.last_s).isoformat(),
    }


def _file_key(item: Item) -> tuple[str, str]:
    return item["commit_id"], shortened(item["path"], _PATH_MAX_BYTES)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _report(new_items: int) -> None:
    if new_items:
        os.write(sys.stdout.fileno(), b"%d\n" % new_items)


if __name__ == "__main__":
    main(sys.argv[1:])
