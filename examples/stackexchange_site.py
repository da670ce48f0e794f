"""A Stack Exchange dump, served like a paged HTTP API: the source that stackexchange.py mines.

`Site` answers with JSON-like envelopes, at most `limit` items a page, ordered by (time, id), with
an opaque cursor. Behind it stands a scratch SQLite file made once from the XML by `publish`, so
that a miner that is killed and started again asks its first question after a millisecond and
parses nothing. The file is written beside its name and renamed: half of it is never seen.

`publish(..., as_of=...)` makes an *earlier edition* of the site, as it looked at that moment: rows
that arrived later are not there, and posts edited later are there unedited.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

__all__ = ["NOBODY", "Site", "microseconds", "publish", "utc"]

Item = dict[str, Any]

NOBODY = "nobody"
"""The entity of rows that belong to no user of the dump: deleted users, votes on deleted posts."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EDIT_FIELDS = ("LastEditDate", "LastEditorUserId", "LastEditorDisplayName")
_SCHEMA = """
CREATE TABLE item (
    entity TEXT NOT NULL, stream TEXT NOT NULL, time_us INTEGER NOT NULL, id INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (entity, stream, time_us, id)
) WITHOUT ROWID;
CREATE TABLE entity (position INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE edition (now_us INTEGER NOT NULL);
"""
_PAGE = """
SELECT time_us, id, body FROM item
WHERE entity = ? AND stream = ? AND (time_us, id) > (?, ?) AND time_us < ?
ORDER BY time_us, id LIMIT ?
"""


def utc(text: str) -> datetime:
    """The dump's times are UTC and do not say so: `"2018-03-12T17:00:45.567"`.

    >>> utc("2018-03-12T00:00:00.000").isoformat()
    '2018-03-12T00:00:00+00:00'
    """
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class Site:
    """The published site: users, what each of them has, and pages of their streams."""

    def __init__(self, index: Path) -> None:
        self._db = sqlite3.connect(f"{index.resolve().as_uri()}?mode=ro", uri=True)
        (now_us,) = self._db.execute("SELECT now_us FROM edition").fetchone()
        self.now = _EPOCH + timedelta(microseconds=now_us)
        """The source's own clock (aware): nothing in this edition is younger than this."""

    def users(self, after: int | None, limit: int) -> tuple[list[str], int | None]:
        """The next `limit` users after the cursor `after`, and where they end."""
        start = -(2**62) if after is None else after
        query = "SELECT position, name FROM entity WHERE position > ? ORDER BY position LIMIT ?"
        found = self._db.execute(query, (start, limit)).fetchall()
        return [name for _, name in found], (found[-1][0] if found else after)

    def user(self, name: str) -> Item:
        """One user: `profile` (None for nobody) and `counts`, the number of items per stream."""
        query = "SELECT stream, count(*) FROM item WHERE entity = ? GROUP BY stream"
        counts = dict(self._db.execute(query, (name,)).fetchall())
        profile = None
        if counts.pop("profiles", 0):
            query = "SELECT body FROM item WHERE entity = ? AND stream = 'profiles'"
            profile = json.loads(self._db.execute(query, (name,)).fetchone()[0])
        return {"profile": profile, "counts": counts}

    def page(
        self,
        user: str,
        stream: str,
        start: datetime,
        end: datetime,
        cursor: str | None = None,
        *,
        limit: int = 100,
    ) -> Item:
        """One page of [start, end): `{"data": {"items": [...]}, "paging": {"next": cursor}}`.

        Many rows share one time, so the cursor is the pair (time, id) of the last item: a time
        alone would lose the rest of a tie, or repeat it. The last page has the cursor None.
        """
        after = _opened(cursor) if cursor is not None else (microseconds(start), -(2**62))
        bounds = (user, stream, *after, microseconds(end), limit + 1)
        found = self._db.execute(_PAGE, bounds).fetchall()
        items = [json.loads(body) for _, _, body in found[:limit]]
        following = _sealed(*found[limit - 1][:2]) if len(found) > limit else None
        return {"data": {"items": items}, "paging": {"next": following}}


def _sealed(time_us: int, item_id: int) -> str:
    return base64.urlsafe_b64encode(f"{time_us},{item_id}".encode()).decode()


def _opened(cursor: str) -> tuple[int, int]:
    time_us, item_id = base64.urlsafe_b64decode(cursor).decode().split(",")
    return int(time_us), int(item_id)


def publish(dump: Path, index: Path, as_of: datetime | None = None) -> None:
    """Make the scratch file that `Site` serves, as the site looked at `as_of` (default: whole)."""
    scratch = index.with_name(f"{index.name}.part")
    scratch.unlink(missing_ok=True)
    db = sqlite3.connect(scratch)
    db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
    entities = {NOBODY: 0}  # ids start at 1; -1 is the site's own robot
    newest_us = 0
    for entity, stream, time_us, item in _edition(dump, as_of):
        if entity not in entities:  # not only with the profile: a moved post can be older than it
            entities[entity] = int(entity)
        newest_us = max(newest_us, time_us)
        body = json.dumps(item, ensure_ascii=False)
        db.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?)", (entity, stream, time_us, item["Id"], body)
        )
    db.executemany(
        "INSERT INTO entity VALUES (?, ?)", [(at, name) for name, at in entities.items()]
    )
    now_us = newest_us + 1 if as_of is None else microseconds(as_of)
    db.execute("INSERT INTO edition VALUES (?)", (now_us,))
    db.commit()
    db.close()
    scratch.replace(index)


def _edition(dump: Path, as_of: datetime | None) -> Iterator[tuple[str, str, int, Item]]:
    """Every row that is visible at `as_of`: (entity, stream, time in microseconds, item)."""
    users: set[str] = set()
    post_owner: dict[str, str] = {}
    for row in _rows(dump / "Users.xml"):
        users.add(row["Id"])
        if as_of is None or utc(row["CreationDate"]) < as_of:
            profile = _seen(row, as_of)
            yield row["Id"], "profiles", microseconds(utc(row["CreationDate"])), _item(profile)
    for row in _rows(dump / "Posts.xml"):
        owner = row.get("OwnerUserId", "")
        post_owner[row["Id"]] = owner if owner in users else NOBODY
        if as_of is None or utc(row["CreationDate"]) < as_of:
            item = _unedited(row, as_of)
            changed = item.get("LastEditDate") or item["CreationDate"]
            yield post_owner[row["Id"]], "posts", microseconds(utc(changed)), _item(item)
    for stream, file, time_field in (
        ("comments", "Comments.xml", "CreationDate"),
        ("votes", "Votes.xml", "CreationDate"),
        ("badges", "Badges.xml", "Date"),
    ):
        for row in _rows(dump / file):
            moment = utc(row[time_field])
            if as_of is not None and _arrival(stream, moment, row) >= as_of:
                continue
            # A vote names nobody (votes are secret): it belongs to whom the voted post belongs.
            user = post_owner.get(row["PostId"], "") if stream == "votes" else row.get("UserId", "")
            yield user if user in users else NOBODY, stream, microseconds(moment), _item(row)


def _arrival(stream: str, moment: datetime, row: Item) -> datetime:
    """When the row became visible. A vote shows only its day: let it come at some second of it."""
    return (
        moment + timedelta(seconds=int(row["Id"]) * 7919 % 86400) if stream == "votes" else moment
    )


def _seen(row: Item, as_of: datetime | None) -> Item:
    """The profile as it looked at `as_of`: its owner's later visits have not happened yet."""
    if as_of is None or utc(row["LastAccessDate"]) < as_of:
        return row
    return {**row, "LastAccessDate": as_of.strftime("%Y-%m-%dT%H:%M:%S.000")}


def _unedited(row: Item, as_of: datetime | None) -> Item:
    """The post as it looked at `as_of`: an edit that came later has not happened yet."""
    edited = row.get("LastEditDate")
    if as_of is None or edited is None or utc(edited) < as_of:
        return row
    return {name: value for name, value in row.items() if name not in _EDIT_FIELDS}


def _item(row: Item) -> Item:
    return {**row, "Id": int(row["Id"])}


def _rows(file: Path) -> Iterator[Item]:
    for _, element in ElementTree.iterparse(file):  # noqa: S314 - the user's own file
        if element.tag == "row":
            yield dict(element.attrib)
            element.clear()
