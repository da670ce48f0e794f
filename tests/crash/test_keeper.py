"""gc and compact under SIGKILL: the store stays sound, and what was forgotten never comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

import belaypin
from belaypin.testing.sigkill import Script, Verdict, campaign, every_line
from tests.crash.keeper import ITEMS, KEY, NEW, events, mine
from tests.crash.outside import Outside, own_table

pytestmark = pytest.mark.proof

Note = Callable[[str, object], None]

KEEPER = Path(__file__).with_name("keeper.py")
MODULES = (
    "belaypin._sync.retention",
    "belaypin.programs.compaction",
    "belaypin.programs.retention",
)


class House:
    """A store with a ledger to clean up, for each round."""

    def __init__(self, folder: Path, postgres_url: str | None = None) -> None:
        self.begin = (datetime.now(UTC) - timedelta(minutes=ITEMS + NEW)).isoformat()
        self.url = ""
        self._folder = folder
        self._postgres_url = postgres_url
        self._rounds = count(1)

    def fresh(self) -> list[Script]:
        self.url = self._postgres_url or f"sqlite:///{self._folder / f'{next(self._rounds)}.db'}"
        with closing(Outside(self.url)) as outside:
            if self._postgres_url:
                outside.run("DROP SCHEMA public CASCADE")
                outside.run("CREATE SCHEMA public")
            outside.run(own_table("items", "id BIGINT", is_sqlite=outside.is_sqlite))
        with belaypin.open(self.url) as store:
            mine(store, self.url, events(self.begin, ITEMS - 1))
            mine(store, self.url, events(self.begin))
            mine(store, self.url, events(self.begin), horizon=None)
            assert store.gc(dry_run=True).of("segments").rows > 20
        return [Script(KEEPER, (self.url, self.begin))]

    def verify(self) -> Verdict:
        with closing(Outside(self.url)) as outside:
            rows = Counter(row[0] for row in outside.run("SELECT id FROM items"))
            segments = outside.run("SELECT COUNT(*) FROM belaypin_segment")[0][0]
        with belaypin.open(self.url) as store:
            assert store.verify().findings == ()
            assert store.gc(dry_run=True).rows == store.compact((*KEY[:2], "kept")).taken == 0
            assert len(store.seen(KEY, range(ITEMS))) < ITEMS / 2
        assert segments < 2 * ITEMS / 3 / 3  # of what there was at first
        expected = {n: 2 if n < ITEMS else 1 for n in range(ITEMS + NEW)}  # two streams have them
        lost = sum(max(0, times - rows[n]) for n, times in expected.items())
        return Verdict(lost, rows.total() - sum(expected.values()) + lost)


def test_a_kill_at_every_line_of_housekeeping(tmp_path: Path, record_property: Note) -> None:
    house = House(tmp_path)
    report = every_line(house.fresh, house.verify, modules=MODULES)
    assert (report.lost, report.doubled) == (0, 0)
    assert report.kills.total() > 100
    record_property("note", f"housekeeping, every line, SQLite: {report}")


def test_kills_anywhere_in_housekeeping_on_postgres(
    tmp_path: Path, postgres_url: str, record_property: Note
) -> None:
    house = House(tmp_path, postgres_url)
    report = campaign(house.fresh, house.verify, at_random=3, at_statements=20)
    assert (report.lost, report.doubled) == (0, 0)
    assert report.kills.total() == 23
    record_property("note", f"housekeeping, PostgreSQL: {report}")
