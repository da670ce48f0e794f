"""Mine the history of a Stack Exchange site, user by user, and survive every kill.

    python examples/stackexchange.py DUMP_DIR                       # mine, then prove the result
    python examples/stackexchange.py DUMP_DIR --kills 20            # the same under SIGKILL
    python examples/stackexchange.py DUMP_DIR --as-of 2018-07-01    # or an earlier edition first:
    python examples/stackexchange.py DUMP_DIR                       # later rows and edits arrive

DUMP_DIR holds the XML files of a data dump (https://archive.org/details/stackexchange). Per user
there is a profile, stored again only when its content changed, and four streams of items, read in
pages from time windows. `Miner` is what you would copy. The site it asks (stackexchange_site.py)
stands where your HTTP client would; stackexchange_proof.py kills the miner and checks its work.

The tables have no unique keys: were a row committed twice, it would be there twice. What bites a
careless miner here, and what is done about it:

- votes carry only their day, up to hundreds the same: the source's cursor is the pair (time, id),
  and a window re-reads the last day, because a vote of today may appear until midnight;
- posts are edited up to months later: the source lists a post at the time of its last change, and
  `tx.fresh(..., content=...)` returns it again, as "changed";
- a profile moves with each visit of its owner: `lease.changed(..., ignore=...)` looks past that;
- some rows belong to no user: they are mined too, as the history of the entity "nobody".

Tags.xml and PostLinks.xml tell of no user and are not read.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import stackexchange_proof
from stackexchange_site import Site, publish, utc

import belaypin

Item = dict[str, Any]
Row = tuple[Any, ...]

PIPELINE = "stackexchange"
SWEEP = belaypin.Key(PIPELINE, "all users", "sweep")
USERS_A_SAVE = 10
LEASE_WAIT_S = 60  # longer than the lease of a miner that died on another machine

TABLES = (
    "CREATE TABLE IF NOT EXISTS profiles (id BIGINT, name TEXT, location TEXT, about TEXT)",
    "CREATE TABLE IF NOT EXISTS posts (id BIGINT, owner TEXT, created TEXT, edited TEXT,"
    " title TEXT, body TEXT, tags TEXT)",
    "CREATE TABLE IF NOT EXISTS comments (id BIGINT, owner TEXT, created TEXT,"
    " post_id BIGINT, body TEXT)",
    "CREATE TABLE IF NOT EXISTS votes (id BIGINT, owner TEXT, day TEXT, post_id BIGINT,"
    " kind BIGINT)",
    "CREATE TABLE IF NOT EXISTS badges (id BIGINT, owner TEXT, awarded TEXT, name TEXT,"
    " class BIGINT)",
    "CREATE INDEX IF NOT EXISTS profiles_by_id ON profiles (id)",
    "CREATE INDEX IF NOT EXISTS posts_by_id ON posts (id)",
)
INSERT_PROFILE = "INSERT INTO profiles (name, location, about, id) VALUES (?, ?, ?, ?)"
UPDATE_PROFILE = "UPDATE profiles SET name = ?, location = ?, about = ? WHERE id = ?"
UPDATE_POST = "UPDATE posts SET edited = ?, title = ?, body = ?, tags = ? WHERE id = ?"

VOLATILE = ("LastAccessDate", "Views")


@dataclass(frozen=True)
class Stream:
    """How one kind of item is read, and the row that it becomes in the table of the same name."""

    name: str
    columns: tuple[str, ...]
    row: Callable[[str, Item], Row]
    at: Callable[[Item], datetime]
    overlap: str = "1h"
    content: tuple[str, ...] | None = None  # what an edit changes (the score: any vote)


def post_row(owner: str, post: Item) -> Row:
    edited, title, tags = post.get("LastEditDate"), post.get("Title"), post.get("Tags")
    return (post["Id"], owner, post["CreationDate"], edited, title, post["Body"], tags)


def comment_row(owner: str, it: Item) -> Row:
    return (it["Id"], owner, it["CreationDate"], int(it["PostId"]), it["Text"])


def vote_row(owner: str, it: Item) -> Row:
    return (it["Id"], owner, it["CreationDate"], int(it["PostId"]), int(it["VoteTypeId"]))


def badge_row(owner: str, it: Item) -> Row:
    return (it["Id"], owner, it["Date"], it["Name"], int(it["Class"]))


STREAMS = (
    Stream(
        "posts",
        ("id", "owner", "created", "edited", "title", "body", "tags"),
        post_row,
        at=lambda post: utc(post.get("LastEditDate") or post["CreationDate"]),
        content=("Title", "Body", "Tags", "LastEditDate"),
    ),
    Stream(
        "comments",
        ("id", "owner", "created", "post_id", "body"),
        comment_row,
        at=lambda comment: utc(comment["CreationDate"]),
    ),
    Stream(
        "votes",
        ("id", "owner", "day", "post_id", "kind"),
        vote_row,
        at=lambda vote: utc(vote["CreationDate"]),
        overlap="1d",
    ),
    Stream(
        "badges",
        ("id", "owner", "awarded", "name", "class"),
        badge_row,
        at=lambda badge: utc(badge["Date"]),
    ),
)


@dataclass(frozen=True)
class Miner:
    """Visits every user of the site once and stores what is new."""

    store: belaypin.Store
    site: Site
    page_size: int
    placeholder: str  # "?" on SQLite, "%s" on PostgreSQL: the driver's own
    report: Callable[[str, int, int, int], None]  # of each commit: stream, rows new, changed, known

    def sweep(self) -> None:
        """Visit all users. A sweep that was cut short goes on at the users where it stood.

        A second sweep at the same time is refused: its `expected_version` is out of date.
        """
        edition = self.site.now.isoformat()
        saved = self.store.load(SWEEP)
        version = saved.version if saved else 0
        after = saved.state["after"] if saved and saved.state["edition"] == edition else None
        while True:
            users, after = self.site.users(after, USERS_A_SAVE)
            if not users:
                break
            for user in users:
                self.visit(user)
            stand = {"edition": edition, "after": after}
            version = self.store.save(SWEEP, stand, expected_version=version)
        # The next sweep begins at the first user again.
        self.store.save(SWEEP, {"edition": None, "after": None}, expected_version=version)

    def visit(self, user: str) -> None:
        """Store one user's profile and whatever is new in each of the streams."""
        found = self.site.user(user)
        with self.store.lease(PIPELINE, f"user:{user}", wait_s=LEASE_WAIT_S) as lease:
            if found["profile"] is not None:
                self.mine_profile(lease, found["profile"])
            for stream in STREAMS:
                if found["counts"].get(stream.name):  # most users only ever earned a badge
                    self.mine_stream(lease, user, stream)

    def mine_profile(self, lease: belaypin.Lease, profile: Item) -> None:
        with lease.changed("profile", profile, ignore=VOLATILE) as change:
            if change:
                sql = INSERT_PROFILE if change.kind == "new" else UPDATE_PROFILE
                about = (profile["DisplayName"], profile.get("Location"), profile.get("AboutMe"))
                change.tx.execute(self.sql(sql), (*about, profile["Id"]))
        kinds = ("new", "changed", "unchanged")
        self.report("profiles", *(int(change.kind == kind) for kind in kinds))

    def mine_stream(self, lease: belaypin.Lease, user: str, stream: Stream) -> None:
        for window in lease.windows(
            stream.name,
            since="beginning",
            until=self.site.now,
            overlap=stream.overlap,
            at=stream.at,
        ):
            fetch = partial(
                self.site.page, user, stream.name, window.start, window.end, limit=self.page_size
            )
            for page in window.pages(fetch, items="data.items", cursor="paging.next"):
                with page.commit() as tx:
                    new, changed = self.store_items(tx, user, stream, page.items)
                self.report(stream.name, new, changed, len(page.items) - new - changed)

    def store_items(
        self, tx: belaypin.Commit, user: str, stream: Stream, items: list[Item]
    ) -> tuple[int, int]:
        """Write one page's fresh items; return how many were new and how many changed."""
        new: list[Row] = []
        changed: list[Row] = []
        for item in tx.fresh(items, key="Id", content=stream.content):
            (new if tx.kind(item) == "new" else changed).append(stream.row(user, item))
        if new:
            tx.copy(stream.name, stream.columns, new)
        for post_id, _owner, _created, *edited in changed:  # only posts declare content
            tx.execute(self.sql(UPDATE_POST), (*edited, post_id))
        return len(new), len(changed)

    def sql(self, text: str) -> str:
        return text.replace("?", self.placeholder)


def mine(store_url: str, index: Path, page_size: int) -> None:
    """Run one miner to its end; print one JSON line for each commit of items."""

    def report(stream: str, *counts: int) -> None:
        if any(counts):
            print(json.dumps([stream, *counts]), flush=True)

    placeholder = "%s" if store_url.startswith("postgresql") else "?"
    with belaypin.open(store_url) as store:
        for table in TABLES:
            store.execute(table)
        Miner(store, Site(index), page_size, placeholder, report).sweep()


def main() -> int:
    options = arguments()
    if options.worker:
        mine(options.store, options.worker, options.page_size)
        return 0
    try:
        run = run_miners(options)
    except stackexchange_proof.MinerFailed as error:
        sys.exit(str(error))
    proof = stackexchange_proof.compare(options.dump, options.store, options.as_of)
    stackexchange_proof.show(proof, run, as_json=options.json)
    return 0 if proof.holds else 1


def run_miners(options: argparse.Namespace) -> stackexchange_proof.Run:
    """Publish the site, then let one miner after the other work on it until all is mined."""
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "site.db"
        publish(options.dump, index, options.as_of)
        command = (
            *(sys.executable, __file__, str(options.dump), "--worker", str(index)),
            *("--store", options.store, "--page-size", str(options.page_size)),
        )
        todo = stackexchange_proof.compare(options.dump, options.store, options.as_of).missing
        return stackexchange_proof.run(command, kills=options.kills, rows=todo, seed=options.seed)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("dump", type=Path, metavar="DUMP_DIR", help="folder with the XML files of a data dump")
    add("--store", default="sqlite:///stackexchange.db", metavar="URL", help="%(default)s")
    add("--kills", type=int, default=0, metavar="N", help="SIGKILL the miner N times")
    add("--seed", type=int, default=1, help="chooses the moments of the kills")
    add("--page-size", type=int, default=100, metavar="N", help="items a page (%(default)s)")
    add("--as-of", type=utc, metavar="TIME", help="mine an earlier edition: 2018-07-01T12:00")
    add("--json", action="store_true", help="print the result as one JSON object")
    add("--worker", type=Path, metavar="INDEX", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not (options.dump / "Users.xml").is_file():
        parser.error(f"{options.dump} holds no Users.xml: name the folder of an unpacked data dump")
    if options.page_size < 1:
        parser.error("--page-size must be at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
