"""The history of a Stack Exchange site, as a pipeline: what stackexchange.py does by hand.

    python examples/stackexchange_pipeline.py DUMP_DIR                       # mine, then prove it
    python examples/stackexchange_pipeline.py DUMP_DIR --engine processes:2  # on another engine
    python examples/stackexchange_pipeline.py DUMP_DIR --store postgresql:///app

The result is the same on each engine: rows, ledgers and coverage. What bites a careless miner here
is told in stackexchange.py, from which the tables and rows are taken.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import stackexchange_proof
from stackexchange import (
    INSERT_PROFILE,
    STREAMS,
    TABLES,
    UPDATE_POST,
    UPDATE_PROFILE,
    VOLATILE,
    Item,
    Stream,
)
from stackexchange_site import Site, publish, utc

import belaypin

INDEX, POSTGRES = "STACKEXCHANGE_INDEX", "STACKEXCHANGE_ON_POSTGRES"  # so that workers know too
PAGE_SIZE = int(os.environ.get("STACKEXCHANGE_PAGE_SIZE", "100"))

mining = belaypin.Pipeline("stackexchange", store="sqlite:///stackexchange.db")
local = threading.local()


def site() -> Site:
    """This thread's connection to the source: where your HTTP client would be."""
    if getattr(local, "index", None) != os.environ[INDEX]:
        local.index = os.environ[INDEX]
        local.site = Site(Path(local.index))
    found: Site = local.site
    return found


def sql(text: str) -> str:
    return text.replace("?", "%s") if os.environ.get(POSTGRES) else text


@mining.setup
def tables(store: belaypin.Store) -> None:
    for table in TABLES:
        store.execute(table)


@mining.entities
def users() -> Iterator[str]:
    found, after = site().users(None, 100)
    while found:
        yield from found
        found, after = site().users(after, 100)


@mining.watch("profile", ignore=VOLATILE)
def profile(user: str) -> Item | None:
    found: Item | None = site().user(user)["profile"]
    return found


@mining.item("profile")
def store_profile(tx: belaypin.Work, found: Item, *, kind: str) -> None:
    about = (found["DisplayName"], found.get("Location"), found.get("AboutMe"))
    tx.execute(sql(INSERT_PROFILE if kind == "new" else UPDATE_PROFILE), (*about, found["Id"]))


def mine(stream: Stream) -> None:
    """Declare one kind of item: how it is read, and what is stored of it."""

    @mining.source(
        stream.name,
        since="beginning",
        until=lambda: site().now,
        overlap=stream.overlap,
        at=stream.at,
        key="Id",
        content=stream.content,
        items="data.items",
        cursor="paging.next",
    )
    def fetch(user: str, window: belaypin.Window, cursor: str | None) -> Item:
        return site().page(user, stream.name, window.start, window.end, cursor, limit=PAGE_SIZE)

    @mining.items(stream.name)
    def store_items(tx: belaypin.Commit, items: list[Item], *, entity: str) -> None:
        new = [stream.row(entity, item) for item in items if tx.kind(item) == "new"]
        if new:
            tx.copy(stream.name, stream.columns, new)
        for item in items:
            if tx.kind(item) == "changed":  # only posts declare content
                post_id, _owner, _created, *edited = stream.row(entity, item)
                tx.execute(sql(UPDATE_POST), (*edited, post_id))


for each in STREAMS:
    mine(each)


def run(dump: Path, store: str, as_of: datetime | None = None, **how: Any) -> belaypin.RunReport:
    """Publish an edition of the site, and mine it; ``how`` is what Pipeline.run takes."""
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "site.db"
        publish(dump, index, as_of)
        os.environ[INDEX] = str(index)
        os.environ[POSTGRES] = "yes" if store.startswith("postgresql") else ""
        return mining.run(store, **how)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add: Callable[..., Any] = parser.add_argument
    add("dump", type=Path, metavar="DUMP_DIR", help="folder with the XML files of a data dump")
    add("--store", default=mining.store, metavar="URL", help="%(default)s")
    add("--engine", default="threads:4", help="%(default)s")
    add("--as-of", type=utc, metavar="TIME", help="mine an earlier edition: 2018-07-01T12:00")
    options = parser.parse_args()
    report = run(options.dump, options.store, options.as_of, engine=options.engine)
    print(report)
    proof = stackexchange_proof.compare(options.dump, options.store, options.as_of)
    print("nothing is lost or doubled" if proof.holds else f"WRONG: {proof}")
    return report.exit_code if proof.holds else 1


if __name__ == "__main__":
    sys.exit(main())
