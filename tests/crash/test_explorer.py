"""The explorer finds what is wrong on purpose, and runs no order twice."""

from __future__ import annotations

from collections.abc import Iterator
from math import comb

import pytest

import belaypin
from belaypin._sync.store import Store
from belaypin.testing.explorer import InterleavingFailure, Player, Stage, explore


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    with belaypin.open(postgres_url) as opened:
        for table in ("one", "two"):
            opened.execute(f"CREATE TABLE {table} (n int)")
            opened.execute(f"INSERT INTO {table} VALUES (0)")
        yield opened


def _add(player: Player, *tables: str) -> None:
    with player.store._open() as tx:
        for table in tables:
            tx.execute(f"UPDATE {table} SET n = n + 1")


def _read_then_write(player: Player) -> None:
    with player.store._open() as tx:
        n = tx.execute("SELECT n FROM one").rows[0][0]
        tx.execute("UPDATE one SET n = %s", (n + 1,))


def test_a_lost_update_is_found(store: Store, postgres_url: str) -> None:
    def stage() -> Stage:
        store.execute("UPDATE one SET n = 0")

        def check() -> None:
            assert store.execute("SELECT n FROM one").rows == [(2,)], "an update was lost"

        return Stage({"A": _read_then_write, "B": _read_then_write}, check)

    with pytest.raises(InterleavingFailure, match=r"an update was lost(?s:.*)B: SELECT n FROM one"):
        explore(postgres_url, stage)


def test_a_deadlock_is_found(postgres_url: str, store: Store) -> None:
    def stage() -> Stage:
        return Stage(
            {"A": lambda p: _add(p, "one", "two"), "B": lambda p: _add(p, "two", "one")},
            lambda: None,
        )

    with pytest.raises(InterleavingFailure, match="deadlock: A, B wait for each other"):
        explore(postgres_url, stage)


def test_orders_that_nobody_can_tell_apart_are_run_once(store: Store, postgres_url: str) -> None:
    def stage() -> Stage:
        return Stage({"A": lambda p: _add(p, "one"), "B": lambda p: _add(p, "two")}, lambda: None)

    assert explore(postgres_url, stage).orders == 1
    assert explore(postgres_url, stage, reduce=False).orders == comb(4, 2)


def test_the_orders_left_out_lead_to_the_same_ends(store: Store, postgres_url: str) -> None:
    def ends(*, reduce: bool) -> set[tuple[int, ...]]:
        seen: set[tuple[int, ...]] = set()

        def stage() -> Stage:
            store.execute("UPDATE one SET n = 0")
            store.execute("UPDATE two SET n = 0")

            def check() -> None:
                one = store.execute("SELECT n FROM one").rows[0]
                seen.add(one + store.execute("SELECT n FROM two").rows[0])

            return Stage({"A": _read_then_write, "B": lambda p: _add(p, "two", "one")}, check)

        explore(postgres_url, stage, reduce=reduce)
        return seen

    assert ends(reduce=True) == ends(reduce=False) == {(1, 1), (2, 1)}


def test_a_crash_falls_before_every_statement(store: Store, postgres_url: str) -> None:
    left: list[int] = []

    def stage() -> Stage:
        store.execute("UPDATE one SET n = 0")

        def check() -> None:
            left.append(store.execute("SELECT n FROM one").rows[0][0])

        return Stage({"A": lambda p: _add(p, "one", "one")}, check)

    run = explore(postgres_url, stage, crashes=1)
    assert (run.orders, run.crashes) == (4, 3)
    assert left == [2, 0, 0, 0]


def test_workers_that_depend_on_chance_are_refused(store: Store, postgres_url: str) -> None:
    runs = iter(range(100))

    def stage() -> Stage:
        tables = ("one", "two")[: 1 + next(runs) % 2]
        return Stage({"A": lambda p: _add(p, *tables), "B": lambda p: _add(p, "one")}, lambda: None)

    with pytest.raises(InterleavingFailure, match="not deterministic"):
        explore(postgres_url, stage)
