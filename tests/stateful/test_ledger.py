"""The ledger against a plain dict: whatever is committed, forgotten, merged, screened or interleaved.

Limits are so small that all of that happens all the time. Every page goes the way of the users'
pages, through leases of several roles that know only what they have seen themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
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
from belaypin import segments
from belaypin.programs import ledger
from belaypin.testing import FakeClock
from belaypin.testing.conformance.expect import raises
from belaypin.testing.conformance.source import DAY

pytestmark = pytest.mark.proof

KEY = ("shop", "user:7", "posts")
ROLES = ("a", "b", "c")

Item = tuple[Any, str]  # id and content

ids = st.one_of(
    st.integers(-4, 30),
    st.integers(0, 30).map(str),
    st.sampled_from(["\N{SNOWMAN}", "a\tb", "x" * 40]),
)
items = st.lists(st.tuples(ids, st.sampled_from("xyz")), max_size=8)
roles = st.sampled_from(ROLES)

happened: Counter[str] = Counter()


class Model:
    """What is committed: each id with its content, None where none was declared."""

    def __init__(self) -> None:
        self.content: dict[Any, str | None] = {}

    def fresh(self, page: Sequence[Item], *, compares: bool) -> list[tuple[Item, str]]:
        """The items that are to be processed, each with its kind."""
        chosen: dict[tuple[type, Any], Item] = {}
        for item in page:
            named = (type(item[0]), item[0])
            if compares or named not in chosen:
                chosen[named] = item
        found = []
        for item in chosen.values():
            if item[0] not in self.content:
                found.append((item, "new"))
            elif compares and self.content[item[0]] != item[1]:
                found.append((item, "changed"))
        return found

    def commit(self, found: Sequence[tuple[Item, str]], *, compares: bool) -> None:
        self.content.update((i, body if compares else None) for (i, body), _ in found)


class Machine(RuleBasedStateMachine):
    """Three workers on one stream, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = ExitStack()
        self.model = Model()
        self.next_id = 1000

    @initialize(
        limit=st.sampled_from([2, 6, 20, 1000]),
        fan_out=st.sampled_from([2, 3, 64]),
        block_items=st.sampled_from([4, 16, 65_536]),
        compares=st.sampled_from([True, False, None]),
    )
    def begin(self, limit: int, fan_out: int, block_items: int, compares: bool | None) -> None:
        self.compares = compares  # None: some pages do, some don't
        self.limits.enter_context(patch.object(ledger, "FAN_OUT", fan_out))
        self.limits.enter_context(patch.object(ledger, "_FULL_ITEMS", max(2, block_items // 4)))
        self.limits.enter_context(patch.object(segments, "BLOCK_ITEMS", block_items))
        self.store = belaypin.open("sqlite:///:memory:", clock=FakeClock(), ledger_items=limit)
        self.workers: dict[str, tuple[Any, Any]] = {}
        for role in ROLES:
            self.start(role)

    @rule(role=roles)
    def start(self, role: str) -> None:
        """A new worker, who knows nothing yet."""
        if role in self.workers:
            self.note(role)
            self.workers[role][0].release()
        lease = self.store.lease(*KEY[:2], role=role)
        lease.acquire()
        live = lease.live(KEY[2], at=lambda _: DAY)
        live.__enter__()
        self.workers[role] = lease, live

    @rule(role=roles, page=items, compares=st.booleans())
    def commit(self, role: str, page: list[Item], compares: bool) -> None:
        compares = self.settle(compares)
        expected = self.model.fresh(page, compares=compares)
        with self.workers[role][1].batch(page).commit() as tx:
            self.check(tx, page, expected, compares)
        self.model.commit(expected, compares=compares)

    @rule(role=roles, count=st.integers(1, 12))
    def commit_numbers_in_order(self, role: str, count: int) -> None:
        """As most sources number their items: nothing that is new lies among what is known."""
        page = [(self.next_id + n, "x") for n in range(count)]
        self.next_id += count
        self.commit(role, page, False)

    @rule(role=roles, page=items, compares=st.booleans())
    def undo(self, role: str, page: list[Item], compares: bool) -> None:
        with raises(ZeroDivisionError), self.workers[role][1].batch(page).commit() as tx:
            self.check(tx, page, self.model.fresh(page, compares=compares), compares)
            raise ZeroDivisionError

    @rule(role=roles, other=roles, known=items, theirs=items, page=items, compares=st.booleans())
    def interleave(
        self,
        role: str,
        other: str,
        known: list[Item],
        theirs: list[Item],
        page: list[Item],
        compares: bool,
    ) -> None:
        """Another worker commits while a block is open that has nothing to write so far."""
        compares = self.settle(compares)
        before = self.model.fresh(known, compares=compares)
        with self.workers[role][1].batch(known).commit() as tx:
            self.check(tx, known, before, compares)
            if tx._transaction is None and role != other:
                happened["interleaved"] += 1
                self.commit(other, theirs, compares)
            picked = {(type(i), i) for (i, _), _ in before}
            page = [item for item in page if (type(item[0]), item[0]) not in picked]
            expected = self.model.fresh(page, compares=compares)
            self.check(tx, page, expected, compares)
        self.model.commit([*before, *expected], compares=compares)

    @rule(wanted=st.lists(ids, max_size=8))
    def look(self, wanted: list[Any]) -> None:
        assert self.store.seen(KEY, wanted) == {i for i in wanted if i in self.model.content}

    def check(
        self, tx: Any, page: list[Item], expected: list[tuple[Item, str]], compares: bool
    ) -> None:
        content = (lambda item: item[1]) if compares else None
        fresh = tx.fresh(page, key=lambda item: item[0], content=content)
        assert [(item, tx.kind(item)) for item in fresh] == expected

    @invariant()
    def segments_are_whole(self) -> None:
        rows = self.store.execute("SELECT seq, items, payload FROM belaypin_segment").rows
        stored: set[Any] = set()
        for seq, count, payload in rows:
            unpacked = segments.unpack(payload, f"segment {seq}")
            assert len(unpacked) == count
            stored |= unpacked.keys()
        assert stored == self.model.content.keys()

    def settle(self, compares: bool) -> bool:
        return compares if self.compares is None else self.compares

    def note(self, role: str) -> None:
        """What has become of a worker's memory."""
        stream = self.workers[role][0]._streams.get(KEY[2])
        if stream is not None:
            happened["screened"] += stream.membership.is_screened
            happened["partial"] += bool(stream.membership._unlearned)
            happened["merged"] += any(b.level for b in stream.membership.blocks.values())

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for role, (lease, _) in self.workers.items():
            self.note(role)
            lease.release()
        everything = [*self.model.content, "never", -99]
        assert self.store.seen(KEY, everything) == {*self.model.content}
        self.store.close()
        self.limits.close()


def test_the_ledger_is_a_dict() -> None:
    happened.clear()
    # With fewer, too little happens to be interleaved.
    enough = settings(max_examples=max(50, settings().max_examples))
    run_state_machine_as_test(Machine, settings=enough)
    # The limits were small enough for the test to mean something.
    assert {name for name, count in happened.items() if count > 5} >= {
        "screened",
        "partial",
        "merged",
        "interleaved",
    }, happened
