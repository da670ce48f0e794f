"""Failing items under everything at once: late items, edits, re-reads, crashes, replays and skips.

Whatever happens, an item has one effect of its newest content that was processed, or one failure
row; the instant of a failed item is never covered; and once all has healed and somebody has run to
the end, each item has been processed or skipped exactly once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
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
from belaypin import Retry
from belaypin.testing import FakeClock
from belaypin.testing.conformance.source import minute
from tests.stateful.truth import check_heads

pytestmark = pytest.mark.proof

KEY = ("shop", "user:7", "posts")
ITEMS = 24
RETRY = Retry(max_attempts=3, backoff="30s", max_backoff="2m")


numbers = st.sets(st.integers(0, ITEMS - 1), min_size=1, max_size=8)


def when(number: int) -> datetime:
    """An item's event time: two of them always share one."""
    return minute(number // 2)


class Died(Exception):
    """The worker stops here, as if its process were killed."""


class Machine(RuleBasedStateMachine):
    """A clock, a source whose items change, items that fail, and people who decide."""

    @initialize(
        page_items=st.integers(1, 6),
        with_content=st.booleans(),
        with_time=st.sampled_from([True, True, False]),
        numbers=numbers,
        failing=numbers,
    )
    def begin(
        self,
        page_items: int,
        with_content: bool,
        with_time: bool,
        numbers: set[int],
        failing: set[int],
    ) -> None:
        self.clock = FakeClock(when(ITEMS) + timedelta(minutes=5))
        self.store = belaypin.open("sqlite:///:memory:", clock=self.clock, ledger_items=10)
        self.store.execute("CREATE TABLE effect (id INTEGER, edit INTEGER)")
        self.page_items = page_items
        self.content = ["edit"] if with_content else None
        self.at = "at" if with_time else None
        self.edits = dict.fromkeys(numbers, 0)
        self.failing = failing
        self.skipped: set[int] = set()

    @rule(numbers=numbers)
    def appear(self, numbers: set[int]) -> None:
        for number in numbers:
            self.edits.setdefault(number, 0)

    @rule(number=st.integers(0, ITEMS - 1))
    def edit(self, number: int) -> None:
        if number in self.edits and self.content is not None:
            self.edits[number] += 1

    @rule(numbers=numbers | st.just(set()))
    def fail(self, numbers: set[int]) -> None:
        self.failing = numbers

    @rule(seconds=st.integers(1, 200))
    def wait(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(
        overlap=st.sampled_from(["0s", "5m", "1h"]), commits=st.integers(0, 5), inside=st.booleans()
    )
    def mine_and_die(self, overlap: str, commits: int, inside: bool) -> None:
        try:
            self.mine(overlap, commits, inside)
        except Died:
            pass

    @rule(overlap=st.sampled_from(["0s", "5m", "1h"]))
    def mine_to_the_end(self, overlap: str) -> None:
        self.mine(overlap, 10_000, False)

    @rule(status=st.sampled_from([None, "quarantined"]))
    def replay(self, status: Any) -> None:
        rows = self.rows(status)
        assert self.store.replay("shop", status=status) == len(rows)
        assert not self.rows("quarantined")

    @rule()
    def skip(self) -> None:
        rows = self.rows("quarantined")
        assert self.store.skip("shop", status="quarantined") == len(rows)
        self.skipped.update(f.item_id for f in rows if isinstance(f.item_id, int))

    @rule(number=st.integers(0, ITEMS - 1))
    def quarantine(self, number: int) -> None:
        try:
            self.store.quarantine(KEY, number, "by hand")
        except belaypin.UsageError:
            assert self.store.seen(KEY, [number])

    def mine(self, overlap: str, commits: int, inside: bool) -> None:
        kept = {f.item_id for f in self.rows("quarantined")}
        with self.store.lease(*KEY[:2]) as lease:
            windows = lease.windows(
                KEY[2], since=minute(0), overlap=overlap, at=self.at, retry=RETRY
            )
            for window in windows:
                fetch = partial(self.fetch, window)
                for page in window.pages(fetch):
                    with page.commit() as tx:
                        for item in tx.fresh(page.items, key="id", content=self.content):
                            assert item["id"] not in kept, "a quarantined item got out"
                            with tx.attempt(item):
                                tx.execute("INSERT INTO effect VALUES (?, ?)", self.row(item))
                                if item["id"] in self.failing:
                                    raise ValueError(item["id"])
                        if inside and not commits:
                            raise Died
                    if not commits:
                        raise Died
                    commits -= 1

    def row(self, item: dict[str, Any]) -> tuple[int, int]:
        return item["id"], item["edit"]

    def fetch(self, window: belaypin.Window, cursor: Any) -> tuple[list[Any], Any]:
        assert not window.end.microsecond, "the hole of a failed item is fetched again"
        wanted = [n for n in sorted(self.edits) if window.start <= when(n) < window.end]
        first = cursor or 0
        page = [
            {"id": n, "at": when(n).isoformat(), "edit": self.edits[n]}
            for n in wanted[first : first + self.page_items]
        ]
        following = first + self.page_items
        return page, following if following < len(wanted) else None

    def rows(self, status: Any = None) -> list[belaypin.Failure]:
        return self.store.failures(*KEY, status=status, limit=1_000)

    @invariant()
    def heads_are_true(self) -> None:
        if hasattr(self, "store"):
            check_heads(self.store.execute)

    @invariant()
    def one_effect_or_one_failure(self) -> None:
        if not hasattr(self, "store"):
            return
        effects = self.store.execute("SELECT id, edit FROM effect").rows
        assert len({*effects}) == len(effects), "an effect is doubled"
        failed = [f.item_id for f in self.rows()]
        assert len({*failed}) == len(failed)
        if self.content is None:
            assert not {*failed} & {n for n, _ in effects}
            assert len({n for n, _ in effects}) == len(effects)

    @invariant()
    def a_failed_instant_is_not_covered(self) -> None:
        if not hasattr(self, "store"):
            return
        covered = self.store.coverage(KEY)
        for failure in self.rows():
            if failure.event_at is not None:
                assert not any(i.start <= failure.event_at < i.end for i in covered), failure
            assert failure.attempts <= RETRY.max_attempts

    @rule()
    def the_store_is_sound(self) -> None:
        report = self.store.verify()
        assert report.ok, str(report)
        counts = self.store.execute("SELECT failures FROM belaypin_checkpoint WHERE stream <> ''")
        assert [n for (n,) in counts.rows] in ([], [len(self.rows())])

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        self.failing = set()
        self.store.replay("shop")
        for _ in range(2):  # the second run meets what the first one withheld
            self.clock.advance(timedelta(minutes=10))
            self.mine("10h", 10_000, False)
        rows = [f for f in self.rows() if f.item_id in self.edits]
        assert not rows, rows
        newest = dict(self.store.execute("SELECT id, edit FROM effect ORDER BY edit").rows)
        for number, edit in self.edits.items():
            if number not in self.skipped:
                assert newest.get(number) == edit, "an item, or its newest content, is lost"
        if self.at is not None and not self.rows():
            assert self.store.gaps(KEY) == []
        self.one_effect_or_one_failure()
        self.the_store_is_sound()
        self.store.close()


def test_failing_items_in_any_order_of_events() -> None:
    run_state_machine_as_test(Machine)
