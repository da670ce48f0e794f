"""Failures: items that were put aside, the holes that they are, and what a commit makes of them.

An item has one effect or one failure row, never both: the row is written, and deleted, in the
transaction that takes the item out of the ledger's entries, or enters it. Where the event time is
known its instant is a hole in the coverage as long as there is a row for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from belaypin import intervals
from belaypin.errors import UsageError
from belaypin.ids import ItemId
from belaypin.mishaps import MAX_ERROR_CHARS, Mishap, storable
from belaypin.program import Program, Statement
from belaypin.programs import coverage, leases
from belaypin.programs.leases import Fence
from belaypin.records.failure import Status, dump_item, id_of, id_text
from belaypin.retry import Retry
from belaypin.revisions import Verdict, compare
from belaypin.segments import MARK_BYTES

__all__ = [
    "Due",
    "Failed",
    "Failures",
    "Standing",
    "among",
    "copy",
    "cover",
    "due",
    "forget",
    "give_up",
    "holes",
    "quarantine",
    "resolve_hole",
    "save",
    "unnamed",
]

PAGE_ITEMS = 200
"""How many failed items come back together."""


class Standing(NamedTuple):
    """A failure's row, as a commit finds it under the stream's lock."""

    failure_id: int
    item_id: str
    status: Status
    attempts: int
    next_try_us: int
    event_us: int | None
    is_hole: int
    fingerprint: bytes | None
    has_payload: int

    def may_be_tried(self, now_us: int, fingerprint: bytes | None) -> bool:
        """Whether the source, or the retry, may have it processed now.

        It may when its time has come, and at once when its content is newer than what failed. What
        is older may not: the newer content would be forgotten with the row.
        """
        verdict = self.verdict(fingerprint)
        if self.status == "quarantined" or verdict == "older":
            return False
        return self.next_try_us <= now_us or verdict == "newer"

    def verdict(self, fingerprint: bytes | None) -> Verdict:
        """What the item is, by its fingerprint or mark, to what failed."""
        if fingerprint is None:
            return "same"
        if len(fingerprint) == MARK_BYTES:
            return compare(self.fingerprint, fingerprint)
        return "same" if fingerprint == self.fingerprint else "newer"


class Failed(NamedTuple):
    """An item that a commit puts aside."""

    event_us: int | None
    status: Status
    attempts: int
    next_try_us: int
    error: str
    traceback: str
    fingerprint: bytes | None
    payload: bytes | None


class Due(NamedTuple):
    """A failed item whose time has come."""

    failure_id: int
    item_id: str
    payload: bytes


class Failures:
    """What one commit knows of its stream's failures, and what it changes about them."""

    def __init__(self, retry: Retry, event_us: Callable[[Any], int] | None) -> None:
        self.standing: dict[str, Standing] = {}
        """The rows of items that ``fresh`` met, by id text."""
        self.put_aside: dict[str, Failed] = {}
        self.renewed: dict[int, Failed] = {}
        """Newer content of items that stay put aside, by failure_id."""
        self.settled: set[str] = set()
        """Rows of items that turned out to be committed as they are."""
        self._retry = retry
        self._event_us = event_us

    def __bool__(self) -> bool:
        return bool(self.put_aside or self.renewed or self.settled)

    def add(
        self,
        item_id: str,
        error: BaseException,
        fingerprint: bytes | None,
        item: Any,
        payload: Any,
        now_us: int,
        chance: float,
    ) -> None:
        """Put an item aside. Raises UsageError if it can't be kept."""
        before = self.standing.get(item_id)
        attempts = 1 if before is None else before.attempts + 1
        mishap = Mishap.of(error)
        delay_us = None if self._retry.gives_up(error) else self._retry.delay_us(attempts, chance)
        self.put_aside[item_id] = Failed(
            self.event_us_of(item),
            "quarantined" if delay_us is None else "waiting",
            attempts,
            now_us + (delay_us or 0),
            mishap.error,
            mishap.traceback or "",
            fingerprint,
            dump_item(item if payload is None else payload),
        )

    def add_killer(self, item_id: str, kills: int, item: Any, now_us: int) -> None:
        """Quarantine an item that killed its workers."""
        error = (
            f"Killed: {kills} workers died, one after the other, with this item alone in hand. The "
            f"dead don't tell why: look at the payload, and at the system's log."
        )
        self.put_aside[item_id] = Failed(
            self.event_us_of(item), "quarantined", kills, now_us, error, "", None, dump_item(item)
        )

    def withhold(
        self, found: Mapping[ItemId, tuple[Any, bytes | None]], now_us: int
    ) -> set[ItemId]:
        """Which of the items that ``fresh`` was given, with their prints, stay put aside."""
        kept = set()
        for item_id, (item, fingerprint) in found.items():
            name = id_text(item_id)
            row = self.standing.get(name)
            if name in self.put_aside:
                kept.add(item_id)
            elif row is not None and not row.may_be_tried(now_us, fingerprint):
                kept.add(item_id)
                if not row.has_payload or row.verdict(fingerprint) in ("newer", "touched"):
                    self._renew(row, item, fingerprint)
        return kept

    def untried(self, ids: Collection[ItemId], prints: Sequence[bytes] | None) -> set[ItemId]:
        """Those of the ids that were put aside with just this content, and not committed since."""
        contents = zip(ids, prints or repeat(None), strict=False)
        rows = ((i, self.standing.get(id_text(i)), p) for i, p in contents)
        return {i for i, row, p in rows if row is not None and row.verdict(p) == "same"}

    def settle(self, ids: Collection[ItemId]) -> None:
        """These were met, and neither picked nor withheld: they are committed as they are."""
        self.settled.update(name for i in ids if (name := id_text(i)) in self.standing)

    def event_us_of(self, item: Any) -> int | None:
        """An item's event time, if it has one that can be read."""
        try:
            return None if self._event_us is None else self._event_us(item)
        except UsageError:
            return None  # then the row alone is the hole

    def _renew(self, row: Standing, item: Any, fingerprint: bytes | None) -> None:
        try:
            payload = dump_item(item)
        except UsageError:
            return  # what attempt(payload=...) gave is kept
        event_us = self.event_us_of(item)
        self.renewed[row.failure_id] = Failed(
            event_us, row.status, row.attempts, row.next_try_us, "", "", fingerprint, payload
        )


def among(key_id: int, generation: int, ids: Sequence[str]) -> Program[list[Standing]]:
    """The rows of those of the items that have one."""
    rows = yield Statement(
        "failure.among",
        {
            "key_id": key_id,
            "generation": generation,
            "ids": msgspec.json.encode(ids).decode(),
        },
    )
    return [Standing(*row) for row in rows]


def holes(key_id: int, generation: int) -> Program[intervals.Intervals]:
    """The instants that are kept out of the coverage for failed items: not to be fetched again."""
    rows = yield Statement("failure.holes", {"key_id": key_id, "generation": generation})
    return [(at, at + 1) for (at,) in rows]


def unnamed(key_id: int, generation: int) -> Program[set[str]]:
    """The prints of items that were put aside before anybody had read their ids."""
    rows = yield Statement("failure.unnamed", {"key_id": key_id, "generation": generation})
    return {name for (name,) in rows}


def due(
    key_id: int, generation: int, due_us: int, after: int, limit: int = PAGE_ITEMS
) -> Program[list[Due]]:
    """The first waiting items behind the row ``after`` whose time has come."""
    rows = yield Statement(
        "failure.due",
        {
            "key_id": key_id,
            "generation": generation,
            "due_us": due_us,
            "after": after,
            "limit": limit,
        },
    )
    return [Due(*row) for row in rows]


def save(
    key_id: int,
    generation: int,
    token: int,
    changes: Failures,
    entries: Mapping[ItemId, bytes | None],
) -> Program[None]:
    """Write what a commit changes, and keep the coverage true to it.

    Rows of items that the commit enters into the ledger go; their holes are filled.
    """
    where = {"key_id": key_id, "generation": generation}
    for name, failed in changes.put_aside.items():
        row = {**where, **failed._asdict(), "item_id": name, "token": token}
        yield Statement("failure.save", row)
        yield from _replace(key_id, generation, changes.standing.get(name), name, failed.event_us)
    for failure_id, failed in changes.renewed.items():
        yield Statement(
            "failure.renew",
            {
                "failure_id": failure_id,
                "payload": failed.payload,
                "fingerprint": failed.fingerprint,
                "event_us": failed.event_us,
            },
        )
        if failed.event_us is not None:
            yield from _open_hole(key_id, generation, failed.event_us)
    done = [n for n in changes.standing if n in changes.settled or id_of(n) in entries]
    for name in done:
        yield from resolve_hole(key_id, generation, changes.standing[name])
    if done or changes.put_aside:
        yield Statement("failure.count", where)


def resolve_hole(key_id: int, generation: int, row: Standing) -> Program[None]:
    """Delete the row of an item that is committed, and fill the hole that it was."""
    yield Statement("failure.delete", {"failure_id": row.failure_id})
    if row.is_hole and row.event_us is not None:
        yield from _fill(key_id, generation, row.event_us)


def cover(key_id: int, generation: int, start_us: int, end_us: int) -> Program[None]:
    """Add [start_us, end_us) to the coverage, but for the instants of items that failed."""
    where = {"key_id": key_id, "generation": generation, "start_us": start_us, "end_us": end_us}
    rows = yield Statement("failure.instants", where)
    for start, end in intervals.gaps([(at, at + 1) for (at,) in rows], start_us, end_us):
        yield from coverage.extend(key_id, generation, start, end)
    if rows:
        yield Statement("failure.cut", where)


def give_up(fence: Fence, failure_id: int, error: BaseException) -> Program[None]:
    """Quarantine a failed item that can't even be read, as its worker."""
    yield from leases.check(fence)
    yield from quarantine(failure_id, Mishap.of(error).error)


def quarantine(failure_id: int, reason: str) -> Program[bool]:
    """Quarantine an item that has a row; False if it has none any more."""
    shown = storable(reason)[:MAX_ERROR_CHARS]
    rows = yield Statement("failure.quarantine", {"failure_id": failure_id, "error": shown})
    return bool(rows)


def copy(key_id: int, generation: int, to_key_id: int, to_generation: int) -> Program[None]:
    """Put the failed items of a stream aside in another generation, or another stream, as well."""
    yield Statement(
        "failure.copy",
        {
            "key_id": key_id,
            "generation": generation,
            "to_key_id": to_key_id,
            "to_generation": to_generation,
        },
    )


def forget(key_id: int, generation: int) -> Program[None]:
    """Forget the failed items of a generation."""
    yield Statement("failure.forget", {"key_id": key_id, "generation": generation})


def _replace(
    key_id: int, generation: int, before: Standing | None, name: str, event_us: int | None
) -> Program[None]:
    """Open the hole of a row that was just saved; what stood before it goes where it differs."""
    if before is not None and (before.item_id, before.event_us) == (name, event_us):
        return
    if event_us is not None:
        yield from _open_hole(key_id, generation, event_us)
    if before is None:
        return
    if before.item_id != name:  # nobody had read its id until now
        yield Statement("failure.delete", {"failure_id": before.failure_id})
    if before.is_hole and before.event_us is not None:
        yield from _fill(key_id, generation, before.event_us)


def _open_hole(key_id: int, generation: int, at_us: int) -> Program[None]:
    """Cut the instant out of the coverage, if it is in it or was in it before another failure."""
    is_hole = yield from coverage.cut(key_id, generation, at_us)
    where = {"key_id": key_id, "generation": generation}
    if not is_hole:
        rows = yield Statement("failure.at", {**where, "event_us": at_us})
        is_hole = bool(rows[0][1])
    if is_hole:
        yield Statement("failure.cut", {**where, "start_us": at_us, "end_us": at_us + 1})


def _fill(key_id: int, generation: int, at_us: int) -> Program[None]:
    """Cover the instant again, unless another item of that very instant is put aside."""
    rows = yield Statement(
        "failure.at", {"key_id": key_id, "generation": generation, "event_us": at_us}
    )
    if rows[0][0] == 0:
        yield from coverage.extend(key_id, generation, at_us, at_us + 1)
