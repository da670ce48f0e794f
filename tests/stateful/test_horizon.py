"""The replay horizon against a model: whatever is dropped and packed, at any moment, nothing doubles.

Workers of several roles know only what they have seen themselves; others commit, the horizon rises,
segments are dropped and packed behind their backs, also while they have a commit block open. The
model knows each effect for ever: an item is returned exactly if it is not too late and was not
processed before (with this content).
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import belaypin
from belaypin import UsageError, segments
from belaypin.programs import ledger
from tests.capabilities.sites import FixedClock
from tests.stateful.truth import check_heads

pytestmark = pytest.mark.proof

KEY = ("shop", "user:7", "posts")
ROLES = ("a", "b")
START = datetime(2024, 1, 1, tzinfo=UTC)

Item = tuple[Any, str]  # id and content; an id has its time for ever

numbers = st.integers(0, 60)
ids = st.one_of(numbers, numbers.map(str))
items = st.lists(st.tuples(ids, st.sampled_from("xy")), max_size=8)
roles = st.sampled_from(ROLES)

happened: Counter[str] = Counter()


def time_of(item: Item) -> datetime:
    """Scattered over four minutes around the start, but the same for each id."""
    spread = int(item[0]) * (37 if isinstance(item[0], str) else 4) % 240
    return START + timedelta(seconds=spread - 60)


class Machine(RuleBasedStateMachine):
    """Two workers on one stream, somebody who cleans up, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = ExitStack()
        self.content: dict[tuple[type, Any], str | None] = {}
        self.horizon: datetime | None = None
        self.held: dict[str, tuple[Any, Any]] = {}

    @initialize(
        fan_out=st.sampled_from([2, 3, 64]),
        block_items=st.sampled_from([4, 16, 65_536]),
        limit=st.sampled_from([2, 20, 1000]),
        compares=st.sampled_from([True, False]),
    )
    def begin(self, fan_out: int, block_items: int, limit: int, compares: bool) -> None:
        self.compares = compares
        self.limits.enter_context(patch.object(ledger, "FAN_OUT", fan_out))
        self.limits.enter_context(patch.object(ledger, "_FULL_ITEMS", max(2, block_items // 2)))
        self.limits.enter_context(patch.object(segments, "BLOCK_ITEMS", block_items))
        self.clock = FixedClock()
        self.store = belaypin.open("sqlite:///:memory:", clock=self.clock, ledger_items=limit)
        for role in ROLES:
            self.start(role)

    @rule(role=roles)
    def start(self, role: str) -> None:
        """A new worker, who knows nothing yet."""
        if role in self.held:
            self.held[role][0].release()
        lease = self.store.lease(*KEY[:2], role=role, ttl_s="20d")
        lease.acquire()
        live = lease.live(KEY[2], at=time_of)
        live.__enter__()
        self.held[role] = lease, live

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(role=roles, page=items)
    def listen(self, role: str, page: list[Item]) -> None:
        with self.held[role][1].batch(page).commit() as tx:
            self.take(tx, page)
        self.look()

    @rule(role=roles, page=items, then=st.sampled_from(["gc", "compact", "other"]), theirs=items)
    def meanwhile(self, role: str, page: list[Item], then: str, theirs: list[Item]) -> None:
        """Others act while a block is open that has not locked the stream yet."""
        batch = self.held[role][1].batch(page)
        with batch.commit() as tx:
            if then == "other":
                self.listen(next(r for r in ROLES if r != role), theirs)
            else:
                self.clean(then)
            self.take(tx, page)
        self.look()

    @rule(role=roles, page=items)
    def undo(self, role: str, page: list[Item]) -> None:
        before = dict(self.content)
        try:
            with self.held[role][1].batch(page).commit() as tx:
                self.take(tx, page)
                raise ZeroDivisionError
        except ZeroDivisionError:
            self.content = before

    @rule(
        role=roles,
        page=items,
        since=st.sampled_from([5, 20, 100]),
        horizon=st.sampled_from([1, 1, 10, 30, None]),
    )
    def mine(self, role: str, page: list[Item], since: int, horizon: int | None) -> None:
        """Whatever window is asked for, the source returns this page, then nothing."""
        source = iter([page])
        windows = self.held[role][0].windows(
            KEY[2], since=f"{since}s", overlap="3s", at=time_of, horizon=horizon
        )
        try:
            for window in windows:
                for fetched in window.pages(lambda cursor: (next(source, []), None)):
                    with fetched.commit() as tx:
                        self.take(tx, fetched.items)
                    self.look()
        except UsageError as error:
            happened["refused"] += 1
            if "replay horizon" not in str(error):
                raise

    @rule(role=roles, page=items)
    def forget(self, role: str, page: list[Item]) -> None:
        """Items come, time goes by and the horizon with it, and what lies below is dropped."""
        self.listen(role, page)
        self.clock.advance(25)
        self.mine(role, [], since=100, horizon=1)
        self.clean("gc")

    @rule(what=st.sampled_from(["gc", "gc", "compact"]))
    def clean(self, what: str) -> None:
        if what == "gc":
            happened["dropped"] += self.store.gc().of("segments").rows
        else:
            happened["packed"] += self.store.compact().taken
        self.look()

    def take(self, tx: Any, page: list[Item]) -> None:
        """What ``fresh`` returns is what the model says, by the horizon that stands now."""
        wanted: dict[tuple[type, Any], Item] = {}
        for item in page:
            name = (type(item[0]), item[0])
            if self.compares or name not in wanted:
                wanted[name] = item
        expected = []
        for name, item in wanted.items():
            is_known = name in self.content
            if is_known and not (self.compares and self.content[name] != item[1]):
                continue
            if self.horizon is not None and time_of(item) < self.horizon:
                happened["too late"] += 1
                happened["would have doubled"] += is_known or name in self.forgotten()
                continue
            expected.append(item)
        content = (lambda item: item[1]) if self.compares else None
        assert tx.fresh(page, key=lambda item: item[0], content=content) == expected
        for item in expected:
            self.content[type(item[0]), item[0]] = item[1]

    def forgotten(self) -> set[tuple[type, Any]]:
        seen = self.store.seen(KEY, [name for _, name in self.content]) if self.content else set()
        return {name for name in self.content if name[1] not in seen}

    def look(self) -> None:
        """Where the horizon stands: it never falls, nor rises above the clock."""
        rows = self.store.execute(
            "SELECT horizon_us FROM belaypin_checkpoint WHERE stream = 'posts'"
        ).rows
        us = rows[0][0] if rows else -62135596800000000
        found = None if us == -62135596800000000 else datetime.fromtimestamp(us / 1e6, UTC)
        if self.horizon is not None:
            assert found is not None
            assert found >= self.horizon
            happened["rose"] += found > self.horizon
        assert us <= self.clock.us
        self.horizon = found

    @invariant()
    def heads_are_true(self) -> None:
        if hasattr(self, "store"):
            check_heads(self.store.execute)

    @invariant()
    def what_is_not_too_late_is_known(self) -> None:
        if not hasattr(self, "store"):
            return
        above = {
            name
            for _, name in self.content
            if self.horizon is None or time_of((name, "")) >= self.horizon
        }
        assert above <= self.store.seen(KEY, above)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for lease, _ in self.held.values():
            lease.release()
        counted = self.store.load(KEY)
        assert counted is None or counted.items == len(self.content)
        assert self.store.verify().ok
        self.store.close()
        self.limits.close()


def test_nothing_doubles_whatever_is_forgotten() -> None:
    happened.clear()
    run_state_machine_as_test(Machine, settings=settings(stateful_step_count=50))
    # The times were close enough for the test to mean something.
    wanted = {"dropped", "packed", "too late", "would have doubled", "rose", "refused"}
    assert {name for name, count in happened.items() if count > 0} >= wanted, happened
