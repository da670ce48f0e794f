"""Savepoint, rewind, fork, drop and reset of a whole pipeline, killed anywhere and run again."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path

import pytest

from belaypin import open as open_store
from belaypin.testing.sigkill import Script, Verdict, campaign
from tests.crash.traveller import ENTITIES

TRAVELLER = Path(__file__).with_name("traveller.py")
MODULES = (
    "belaypin._sync.travel",
    "belaypin.programs.savepoints",
    "belaypin.programs.rewinding",
    "belaypin.programs.forking",
    "belaypin.programs.history",
)


class Journey:
    """A store for each round, and what must be there when the journey is over."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self._folder = folder
        self._url = url
        self._numbers = count()

    def fresh(self) -> list[Script]:
        if self._url is None:
            self.url = f"sqlite:///{self._folder}/{next(self._numbers)}.db"
        else:
            self.url = self._url
            self._empty()
        return [Script(TRAVELLER, (self.url,))]

    def verify(self) -> Verdict:
        with open_store(self.url) as store:
            report = store.verify()
            assert report.ok, report
            for entity in ENTITIES:
                stood = set() if entity == "b" else set(range(6))
                assert store.seen(("shop", entity, "posts"), range(20)) == stood
                copied = {*range(6), *range(10, 14)}
                assert store.seen(("copy", entity, "posts"), range(20)) == copied
                note = store.load(("shop", entity, "note"))
                assert note is not None
                assert note.state == (None if entity == "b" else {"mined to": 6})
            assert store.savepoints() == []
            tables = ("belaypin_savepoint_key", "belaypin_savepoint_span")
            assert [store.execute(f"SELECT * FROM {table}").rows for table in tables] == [[], []]
            rows = Counter(store.execute("SELECT pipeline, entity, id FROM effect").rows)
        expected = {("shop", e, i) for e in ENTITIES for i in range(10)}
        expected |= {("copy", e, i) for e in ENTITIES for i in range(10, 14)}
        assert rows.keys() <= expected
        return Verdict(len(expected - rows.keys()), rows.total() - len(rows))

    def _empty(self) -> None:
        with open_store(self.url) as store:
            names = store.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
            ).rows
            store.execute(f"DROP TABLE {', '.join(name for (name,) in names)}")


@pytest.mark.proof
def test_time_travel_on_sqlite(tmp_path: Path) -> None:
    _survives(Journey(tmp_path), at_lines=8, at_statements=8)


@pytest.mark.proof
def test_time_travel_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    _survives(Journey(tmp_path, postgres_url), at_lines=4, at_statements=4)


@pytest.mark.long
def test_time_travel_killed_at_many_places(tmp_path: Path, postgres_url: str) -> None:
    _survives(Journey(tmp_path), at_lines=300, at_statements=200)
    _survives(Journey(tmp_path, postgres_url), at_lines=100, at_statements=100)


def _survives(journey: Journey, *, at_lines: int, at_statements: int) -> None:
    report = campaign(
        journey.fresh,
        journey.verify,
        at_lines=at_lines,
        at_statements=at_statements,
        modules=MODULES,
    )
    assert (report.lost, report.doubled) == (0, 0)
    assert report.kills.total() == at_lines + at_statements
