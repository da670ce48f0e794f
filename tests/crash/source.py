"""Posts, comments and votes of a Stack Exchange dump as a paged source, and what must come of it.

The dump is the shared one where that folder is there, else the small sample in the repository. It
is put into a scratch SQLite file once, so that a miner's process reads its pages at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["END", "STREAMS", "Dump", "Source", "find_dump"]

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "quantumcomputing.stackexchange"
SAMPLE = ROOT / "tests" / "data" / "stackexchange-sample"

STREAMS = ("posts", "comments", "votes")
END = datetime(2020, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = """
CREATE TABLE item (
    entity TEXT NOT NULL, stream TEXT NOT NULL, time_us INTEGER NOT NULL, id INTEGER NOT NULL,
    PRIMARY KEY (entity, stream, time_us, id)
) WITHOUT ROWID;
"""
_PAGE = """
SELECT time_us, id FROM item
WHERE entity = ? AND stream = ? AND time_us >= ? AND time_us < ? AND (time_us, id) > (?, ?)
ORDER BY time_us, id LIMIT ?
"""

Item = dict[str, Any]


class Dump(NamedTuple):
    """Where the data comes from."""

    folder: Path
    name: str


def find_dump() -> Dump:
    """The shared data set if it is there, else the sample."""
    if SHARED.is_dir():
        return Dump(SHARED, "the shared dump of quantumcomputing.stackexchange")
    return Dump(SAMPLE, "the small sample in tests/data")


class Source:
    """Pages of items, by (time, id): most votes of a day have the same time."""

    def __init__(self, index: str | Path) -> None:
        self._db = sqlite3.connect(f"file:{index}?mode=ro", uri=True)

    def entities(self) -> list[str]:
        query = "SELECT DISTINCT entity FROM item ORDER BY entity"
        return [entity for (entity,) in self._db.execute(query)]

    def items(self, entity: str, stream: str) -> list[Item]:
        """All of a stream, in the order of their times."""
        return self.page(entity, stream, datetime(2000, 1, 1, tzinfo=UTC), END, 10**9, None)[0]

    def page(
        self, entity: str, stream: str, start: datetime, end: datetime, limit: int, cursor: Any
    ) -> tuple[list[Item], Any]:
        after = cursor or (-(2**62), 0)
        span = (_us(max(start, _EPOCH)), _us(end))
        found = self._db.execute(_PAGE, (entity, stream, *span, *after, limit)).fetchall()
        items = [{"id": i, "at": _EPOCH + timedelta(microseconds=at)} for at, i in found]
        return items, list(found[-1]) if len(found) == limit else None


def publish(dump: Dump, index: Path, *, entities: int, share: int = 1) -> int:
    """Write the scratch file: every ``share``-th item, spread over entities; return how many."""
    db = sqlite3.connect(index)
    db.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
    rows = [
        (f"e{int(row['Id']) * 7919 % entities:03}", stream, _us(_utc(row["CreationDate"])), row_id)
        for stream in STREAMS
        for number, row in enumerate(_rows(dump.folder / f"{stream.title()}.xml"))
        if number % share == 0 and (row_id := int(row["Id"]))
    ]
    db.executemany("INSERT INTO item VALUES (?, ?, ?, ?)", rows)
    db.commit()
    db.close()
    return len(rows)


def everything(index: Path) -> set[tuple[str, str, int]]:
    """(entity, stream, id) of every item of the scratch file."""
    with sqlite3.connect(index) as db:
        return set(db.execute("SELECT entity, stream, id FROM item"))


def _rows(file: Path) -> Iterable[dict[str, str]]:
    from xml.etree import ElementTree  # not in a miner's start-up

    def read() -> Iterator[dict[str, str]]:
        for _, element in ElementTree.iterparse(file):
            if element.tag == "row":
                yield dict(element.attrib)
                element.clear()

    return read()


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
