"""The whole loop against a source that shows its items late, with workers that die and listeners.

Every item appears at most ``LATE`` after its event time, in any order. Whatever the workers do,
once all has appeared and somebody has run to the end, each item has been processed exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import belaypin
from belaypin.testing import FakeClock
from belaypin.testing.conformance.source import Item, Source, event, minute
from tests.stateful.truth import check_heads

pytestmark = pytest.mark.proof

KEY = ("shop", "user:7", "posts")
MINUTES = 120
LATE = 20

# When each minute's items appear, in minutes after their event; None: that minute has none.
delays = st.lists(st.one_of(st.none(), st.integers(0, LATE)), min_size=MINUTES, max_size=MINUTES)


class Died(Exception):
    """The worker stops here, as if its process were killed."""


class Machine(RuleBasedStateMachine):
    """A clock, a source that shows ever more, one miner at a time, and a listener."""

    @initialize(delays=delays, page_items=st.integers(1, 5))
    def begin(self, delays: list[int | None], page_items: int) -> None:
        self.clock = FakeClock(minute(1))
        self.store = belaypin.open("sqlite:///:memory:", clock=self.clock, ledger_items=40)
        self.store.execute("CREATE TABLE effect (id INTEGER, body TEXT)")
        self.page_items = page_items
        self.appears = {n: n + delay for n, delay in enumerate(delays) if delay is not None}

    def shown(self) -> list[Item]:
        """What the source shows now, by event time."""
        now = self.now()
        return [event(n, n) for n, at in self.appears.items() if at < now]

    def now(self) -> float:
        return (self.clock.now - minute(0)).total_seconds() / 60

    @rule(minutes=st.integers(1, 30))
    def wait(self, minutes: int) -> None:
        if self.now() < MINUTES:
            self.clock.advance(timedelta(minutes=minutes))

    @rule(pages=st.integers(0, 6), in_the_block=st.booleans())
    def mine_and_die(self, pages: int, in_the_block: bool) -> None:
        try:
            self.mine(self.deaths(pages, in_the_block))
        except Died:
            pass

    @rule()
    def mine_to_the_end(self) -> None:
        self.mine(self.deaths(10_000, False))

    @rule(steps=st.lists(st.integers(1, 9), max_size=4), fails=st.booleans())
    def listen(self, steps: list[int], fails: bool) -> None:
        """Hear everything that appears while connected; the last batch may be lost."""
        with (
            self.store.lease(*KEY[:2], role="live") as lease,
            lease.live(KEY[2], at="at", settle=timedelta(minutes=LATE)) as live,
        ):
            before = {item["id"] for item in self.shown()}
            for number, minutes in enumerate(steps):
                self.clock.advance(timedelta(minutes=minutes))
                heard = [item for item in self.shown() if item["id"] not in before]
                before |= {item["id"] for item in heard}
                if fails and number == len(steps) - 1:
                    live.batch(heard)
                    return
                with live.batch(heard).commit() as tx:
                    self.write(tx, tx.fresh(heard, key="id"))

    def mine(self, deaths: Iterator[bool]) -> None:
        with self.store.lease(*KEY[:2]) as lease:
            options: dict[str, Any] = {"since": minute(0), "overlap": timedelta(minutes=LATE)}
            for window in lease.windows(KEY[2], at="at", **options):
                # The source is asked again for each page: what appears shifts the pages.
                def fetch(cursor: Any, window: Any = window) -> Any:
                    return Source(self.shown(), self.page_items).within(window)(cursor)

                for page in window.pages(fetch):
                    with page.commit() as tx:
                        self.write(tx, tx.fresh(page.items, key="id"))
                        if next(deaths):
                            raise Died
                    if next(deaths):
                        raise Died
                    if self.now() < MINUTES:
                        self.clock.advance("1m")

    def deaths(self, pages: int, in_the_block: bool) -> Iterator[bool]:
        for _ in range(pages):
            yield False
            yield False
        yield in_the_block
        while True:
            yield True

    def write(self, tx: Any, items: list[Item]) -> None:
        tx.executemany("INSERT INTO effect VALUES (?, '')", [(item["id"],) for item in items])

    @invariant()
    def heads_are_true(self) -> None:
        if hasattr(self, "store"):
            check_heads(self.store.execute)

    @invariant()
    def nothing_is_doubled_or_invented(self) -> None:
        if hasattr(self, "store"):
            rows = [row[0] for row in self.store.execute("SELECT id FROM effect").rows]
            assert len(rows) == len(set(rows))
            assert self.store.seen(KEY, range(MINUTES)) == set(rows) <= self.appears.keys()

    @invariant()
    def what_is_covered_and_settled_is_processed(self) -> None:
        """I5: what appeared at the latest when it could, and is covered, has been processed."""
        if hasattr(self, "store"):
            rows = {row[0] for row in self.store.execute("SELECT id FROM effect").rows}
            for span in self.store.coverage(KEY):
                inside = {n for n in self.appears if span.start <= minute(n) < span.end}
                settled = {n for n in inside if self.appears[n] <= n}
                assert settled <= rows, (span, settled - rows)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.clock.set(minute(MINUTES + 2 * LATE))
            self.mine_to_the_end()
            self.nothing_is_doubled_or_invented()
            rows = {row[0] for row in self.store.execute("SELECT id FROM effect").rows}
            assert rows == self.appears.keys(), f"lost: {sorted(self.appears.keys() - rows)}"
            self.store.close()


def test_late_items_dead_workers_and_listeners() -> None:
    run_state_machine_as_test(Machine)
