"""Two workers in every order that a database can tell apart, and a crash before any statement.

Every day: every order without a crash (of the two largest scenarios on PostgreSQL, a sample), and a
sample with one. `make long`: every order with a crash before every statement.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from belaypin.programs import ledger
from belaypin.testing.explorer import Explored, explore
from tests.crash.scenarios import SCENARIOS
from tests.crash.world import Theatre

pytestmark = pytest.mark.proof

LARGE_ON_POSTGRES = {"merging_segments", "two_make_the_tables"}
EVERYDAY_SAMPLE = 15

Note = Callable[[str, object], None]

everyday = pytest.mark.parametrize("name", SCENARIOS)
on_postgres = pytest.mark.parametrize("name", [n for n in SCENARIOS if n not in LARGE_ON_POSTGRES])
large = pytest.mark.parametrize("name", sorted(LARGE_ON_POSTGRES))


@pytest.fixture(autouse=True)
def merge_often(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "merging_segments" in request.node.name:
        monkeypatch.setattr(ledger, "FAN_OUT", 2)


def _explored(
    theatre: Theatre, name: str, note: Note, *, crashes: int = 0, sample: int | None = None
) -> Explored:
    run = explore(
        theatre.url,
        lambda: SCENARIOS[name](theatre),
        clock=theatre.clock,
        crashes=crashes,
        sample=sample,
    )
    database = "SQLite" if theatre.outside.is_sqlite else "PostgreSQL"
    note("note", f"{database}, {name}: {run}")
    return run


@everyday
def test_every_order_on_sqlite(sqlite_theatre: Theatre, name: str, record_property: Note) -> None:
    assert _explored(sqlite_theatre, name, record_property).is_complete


@on_postgres
def test_every_order_on_postgres(
    postgres_theatre: Theatre, name: str, record_property: Note
) -> None:
    assert _explored(postgres_theatre, name, record_property).is_complete


@large
def test_orders_drawn_at_random_on_postgres(
    postgres_theatre: Theatre, name: str, record_property: Note
) -> None:
    run = _explored(postgres_theatre, name, record_property, sample=EVERYDAY_SAMPLE)
    assert run.orders == EVERYDAY_SAMPLE


@everyday
def test_crashes_drawn_at_random_on_sqlite(
    sqlite_theatre: Theatre, name: str, record_property: Note
) -> None:
    run = _explored(sqlite_theatre, name, record_property, crashes=2, sample=EVERYDAY_SAMPLE)
    assert run.crashes > 0


@everyday
def test_crashes_drawn_at_random_on_postgres(
    postgres_theatre: Theatre, name: str, record_property: Note
) -> None:
    run = _explored(postgres_theatre, name, record_property, crashes=2, sample=EVERYDAY_SAMPLE)
    assert run.crashes > 0


@pytest.mark.long
@everyday
def test_a_crash_before_every_statement_in_every_order_on_sqlite(
    sqlite_theatre: Theatre, name: str, record_property: Note
) -> None:
    assert _explored(sqlite_theatre, name, record_property, crashes=1).is_complete


@pytest.mark.long
@everyday
def test_a_crash_before_every_statement_in_every_order_on_postgres(
    postgres_theatre: Theatre, name: str, record_property: Note
) -> None:
    assert _explored(postgres_theatre, name, record_property, crashes=1).is_complete
