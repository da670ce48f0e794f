"""Time travel against a plain copy: whatever is committed, merged, rewound, reset, reopened or forked.

Workers of two roles keep their leases, and so their memory of the ledger, until they are fenced.
Limits are so small that segments merge, and ids are forgotten and learned again, all the time.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import belaypin
from belaypin import Fenced, intervals
from belaypin.programs import ledger
from belaypin.testing import FakeClock
from belaypin.testing.conformance.expect import raises
from belaypin.testing.conformance.source import minute
from belaypin.times import to_us
from tests.stateful.truth import check_heads

pytestmark = pytest.mark.proof

PIPELINE, STREAM = "shop", "posts"
ROLES = ("a", "b")
IDS = 80
BLANK: dict[str, Any] = {
    "counts": (0, 0, 0, 0),
    "state": None,
    "content_hash": None,
    "covered": [],
    "open": "{}",
}

roles = st.sampled_from(ROLES)
pages = st.lists(st.integers(0, IDS), max_size=5)
batches = st.lists(pages, min_size=1, max_size=6)
minutes = st.integers(0, 30)

happened: Counter[str] = Counter()

Standing = dict[str, dict[str, Any]]
Saved = dict[str, tuple[Standing, set[int]]]


class Total:
    """A component that adds up ids."""

    is_complete = False

    def __init__(self) -> None:
        self.ids = 0

    def snapshot(self) -> Any:
        return {"ids": self.ids}

    def restore(self, state: Any) -> None:
        self.ids = state["ids"]


class Machine(RuleBasedStateMachine):
    entities = Bundle("entities")
    savepoints = Bundle("savepoints")  # key and name

    @initialize(
        target=entities, limit=st.sampled_from([4, 1000]), fan_out=st.sampled_from([2, 3, 64])
    )
    def begin(self, limit: int, fan_out: int) -> Any:
        self.limits = ExitStack()
        self.limits.enter_context(patch.object(ledger, "FAN_OUT", fan_out))
        self.limits.enter_context(patch.object(ledger, "_FULL_ITEMS", 1000))
        self.clock = FakeClock(minute(100))
        self.store = belaypin.open("sqlite:///:memory:", clock=self.clock, ledger_items=limit)
        self.workers: dict[tuple[str, str], tuple[Any, Any, Total]] = {}
        self.known: dict[str, set[int]] = {}
        self.saved: dict[tuple[str, str], Saved] = {}
        self.newest: dict[tuple[str, str], tuple[int, ...]] = {}
        self.count = 0
        return multiple(self.entity("one"), self.entity("two"))

    def entity(self, name: str) -> str:
        self.known.setdefault(name, set())
        for role in ROLES:
            self.start(name, role)
        return name

    # --- work ------------------------------------------------------------------------------------

    @rule(entity=entities, role=roles)
    def start(self, entity: str, role: str) -> None:
        """A new worker, who knows nothing yet."""
        if (entity, role) in self.workers:
            self.workers[entity, role][0].release()
        lease = self.store.lease(PIPELINE, entity, role=role)
        lease.acquire()
        total = lease.attach(f"total {role}", Total())
        live = lease.live(STREAM, at=lambda _: minute(0))
        live.__enter__()
        self.workers[entity, role] = lease, live, total

    @rule(entity=entities, role=roles, batches=batches)
    def commit(self, entity: str, role: str, batches: list[list[int]]) -> None:
        known = self.known[entity]
        _, live, total = self.workers[entity, role]
        for page in batches:
            self.clock.advance("1m")
            with live.batch(page).commit() as tx:
                fresh = tx.fresh(page, key=lambda item: item)
                assert fresh == [i for i in dict.fromkeys(page) if i not in known]
                total.ids += sum(fresh)
            known.update(fresh)

    @rule(entity=entities, first=minutes, length=minutes, page=pages, stops=st.booleans())
    def mine(self, entity: str, first: int, length: int, page: list[int], stops: bool) -> None:
        """Fill gaps; ``stops``: and leave the first window at its second page."""
        known = self.known[entity]
        with self.store.lease(PIPELINE, entity, role="miner") as lease:
            for window in lease.windows(STREAM, since=minute(first), until=minute(first + length)):
                for fetched in window.pages(lambda c: (page, None if c else "more")):
                    with fetched.commit() as tx:
                        fresh = tx.fresh(fetched.items, key=lambda item: item)
                        assert not known.intersection(fresh)
                    known.update(fresh)
                    if stops:
                        return

    @rule(entity=entities, value=st.integers(0, 3))
    def save(self, entity: str, value: int) -> None:
        self.store.save((PIPELINE, entity, "note"), {"value": value})

    @rule(entity=entities, value=st.integers(0, 3))
    def change(self, entity: str, value: int) -> None:
        with (
            self.store.lease(PIPELINE, entity, role="changer") as lease,
            lease.changed("profile", value) as change,
        ):
            if change:
                change.tx.execute("SELECT 1")

    # --- travel ----------------------------------------------------------------------------------

    @rule(target=savepoints, entity=entities)
    def save_one(self, entity: str) -> Any:
        return self.save_at((PIPELINE, entity), [entity])

    @rule(target=savepoints)
    def save_all(self) -> Any:
        return self.save_at((PIPELINE,), list(self.known))

    def save_at(self, key: tuple[str, ...], entities: list[str]) -> Any:
        self.count += 1
        name = f"savepoint {self.count}"
        assert self.store.savepoint(key, name).is_whole
        self.saved[key[-1], name] = {e: (self.standing(e), set(self.known[e])) for e in entities}
        return key, name

    @rule(target=savepoints, entity=entities, first=batches, second=batches)
    def undo(self, entity: str, first: list[list[int]], second: list[list[int]]) -> Any:
        """A savepoint amid commits, so that segments want to be packed across it."""
        self.commit(entity, "a", first)
        savepoint = self.save_one(entity)
        self.commit(entity, "b", second)
        self.store.compact()
        self.rewind(savepoint)
        return savepoint

    @rule(savepoint=savepoints)
    def rewind(self, savepoint: Any) -> None:
        key, name = savepoint
        saved = self.saved[key[-1], name]
        entities = [key[1]] if len(key) == 2 else list(self.known)
        before = self.dump()
        planned = self.store.rewind(key, to=name, dry_run=True, force=True)
        assert self.dump() == before
        done = self.store.rewind(key, to=name, force=True)
        assert (done.streams, done.items_forgotten) == (planned.streams, planned.items_forgotten)
        moved = {stream.key.entity for stream in done.streams}
        for entity in entities:
            stood, known = saved.get(entity, ({}, set()))
            self.check_standing(entity, stood)
            self.known[entity] = set(known)
            if entity in moved:
                self.check_fenced(entity)
        again = self.store.rewind(key, to=name, force=True)
        assert all(stream.items_before == stream.items_after for stream in again.streams)

    @rule(entity=entities)
    def reset(self, entity: str) -> None:
        done = self.store.reset((PIPELINE, entity), force=True)
        assert done.items_forgotten == len(self.known[entity])
        self.check_standing(entity, {})
        self.known[entity] = set()
        if done.streams:
            self.check_fenced(entity)

    @rule(entity=entities, first=minutes, length=st.integers(1, 30))
    def reopen(self, entity: str, first: int, length: int) -> None:
        span = minute(first), minute(first + length)
        before = self.standing(entity)
        done = self.store.reopen((PIPELINE, entity), *span, force=True)
        after = self.standing(entity)
        expected = deepcopy(before)
        for stood in expected.values():
            us = (to_us(span[0], ""), to_us(span[1], ""))
            stood["covered"] = intervals.subtract(stood["covered"], *us)
        for stood in (*expected.values(), *after.values()):
            del stood["open"]
        assert after == expected
        if done.streams:
            self.check_fenced(entity)

    @rule(target=entities, entity=entities)
    def fork(self, entity: str) -> Any:
        if len(self.known) > 4:
            return multiple()
        self.count += 1
        copy = f"copy {self.count}"
        self.store.fork((PIPELINE, entity), (PIPELINE, copy))
        assert self.standing(copy) == self.standing(entity)
        self.known[copy] = set(self.known[entity])
        happened["forked"] += 1
        return self.entity(copy)

    @rule(savepoint=consumes(savepoints))
    def drop(self, savepoint: Any) -> None:
        self.store.drop_savepoint(*savepoint)

    @rule(entity=entities, batches=batches)
    def keep_it_small(self, entity: str, batches: list[list[int]]) -> None:
        """Nothing of this may be noticed, then or by a later rewind."""
        self.commit(entity, "a", batches)
        self.clock.advance("1m")
        before = {entity: self.standing(entity) for entity in self.known}
        happened["compacted"] += self.store.compact().taken > 0
        happened["dropped"] += (
            self.store.gc(belaypin.Retention(generations="1s")).of("generations").rows
        )
        assert {entity: self.standing(entity) for entity in self.known} == before

    def check_fenced(self, entity: str) -> None:
        """Nobody who was there before may act on the past."""
        happened["fenced"] += 1
        before = self.dump()
        for role in ROLES:
            lease, live, _ = self.workers[entity, role]
            with raises(Fenced), live.batch([1, 999]).commit() as tx:
                tx.fresh([1, 999], key=lambda item: item)
            with raises(Fenced), lease.changed("profile", "by a ghost") as change:
                change.tx.execute("SELECT 1")
        assert self.dump() == before
        for role in ROLES:
            self.start(entity, role)

    def check_standing(self, entity: str, stood: Standing) -> None:
        now = self.standing(entity)
        assert {name: now[name] for name in stood} == stood
        assert all(now[name] == BLANK for name in now.keys() - stood)
        if any(s["open"] != "{}" for s in stood.values()):
            happened["open windows"] += 1

    def standing(self, entity: str) -> Standing:
        """How each Key of the entity stands, by plain SQL but for the state."""
        rows = self.store.execute(
            "SELECT key_id, generation, stream, items, skipped, changed, late, progress, content_hash"
            " FROM belaypin_checkpoint WHERE entity = ? ORDER BY stream",
            (entity,),
        ).rows
        found = {}
        for key_id, generation, stream, *counts, progress, content_hash in rows:
            parts = (PIPELINE, entity, stream) if stream else (PIPELINE, entity)
            covered = self.store.execute(
                "SELECT start_us, end_us FROM belaypin_coverage WHERE key_id = ? AND generation = ?"
                " ORDER BY start_us",
                (key_id, generation),
            ).rows
            loaded = self.store.load(parts)
            found[stream] = {
                "counts": tuple(counts),
                "state": loaded.state if loaded else None,
                "content_hash": content_hash,
                "covered": covered,
                "open": progress,
            }
        return found

    def dump(self) -> list[Any]:
        tables = ("checkpoint", "segment", "coverage", "history", "lease", "audit")
        names = [f"belaypin_{table}" for table in tables]
        return [sorted(self.store.execute(f"SELECT * FROM {n}").rows, key=repr) for n in names]

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def the_ledger_is_what_is_known(self) -> None:
        if not hasattr(self, "store"):
            return
        for entity, known in self.known.items():
            key = (PIPELINE, entity, STREAM)
            assert self.store.seen(key, range(-1, IDS + 2)) == known
            loaded = self.store.load(key)
            assert (loaded.items if loaded else 0) == len(known)

    @invariant()
    def heads_are_true(self) -> None:
        if hasattr(self, "store"):
            check_heads(self.store.execute)

    @invariant()
    def nothing_goes_back(self) -> None:
        """I3, I5, I6: versions, generations and tokens only grow."""
        if not hasattr(self, "store"):
            return
        rows = self.store.execute(
            "SELECT entity, stream, version, generation, head_seq,"
            " (SELECT SUM(token) FROM belaypin_lease l WHERE l.key_id = c.key_id)"
            " FROM belaypin_checkpoint c"
        ).rows
        for entity, stream, *numbers in rows:
            now = tuple(n or 0 for n in numbers)
            before = self.newest.get((entity, stream), now)
            assert all(new >= old for new, old in zip(now, before, strict=True))
            self.newest[entity, stream] = now

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        levels = self.store.execute("SELECT MAX(level) FROM belaypin_segment").rows[0][0]
        happened["merged"] += bool(levels)
        assert self.store.verify().ok, self.store.verify()
        for lease, _, _ in self.workers.values():
            lease.release()
        self.store.close()
        self.limits.close()


def test_time_travel_is_a_copy() -> None:
    happened.clear()
    quick = settings(stateful_step_count=40)
    run_state_machine_as_test(Machine, settings=quick)
    # The limits were small enough for the test to mean something.
    assert {"compacted", "fenced", "forked", "merged"} <= {*+happened}, happened
