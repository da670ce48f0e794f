"""Upkeep: what ``verify`` reads, a page of records in each transaction; it never locks a row."""

from __future__ import annotations

from typing import NamedTuple

from belaypin.program import Program, Rows, SqlValue, Statement
from belaypin.programs import dictionaries
from belaypin.programs.parts import one_pipeline
from belaypin.programs.scope import Name, Scope

__all__ = [
    "INLINE_BYTES",
    "CoverageRow",
    "KeptRow",
    "KeyPage",
    "KeyRow",
    "LeaseRow",
    "LedgerPage",
    "Name",
    "OperationRow",
    "Orphans",
    "Scope",
    "SegmentRow",
    "Standing",
    "kept_state",
    "key_page",
    "ledger_page",
    "operation_page",
    "orphan_page",
    "result",
    "state",
]

INLINE_BYTES = 65_536
"""Larger states and results are read one by one, so that a page of them stays small."""

_INLINE_KEPT_BYTES = 8_192  # of each Key there may be many
_PAGE_KEYS = 200
_PAGE_SEGMENTS = 16
_SHORT_SEQ = 8
_SHORT_ITEMS = 500
_PAGE_OPERATIONS = 200
_ORPHAN_KEY_IDS = 10_000


class KeyRow(NamedTuple):
    """A checkpoint as it is stored; ``small_state`` is None where it is none or a large one."""

    key_id: int
    pipeline: str
    entity: str
    stream: str
    generation: int
    commits: int
    head_seq: int
    progress: str
    items: int
    skipped: int
    changed: int
    late: int
    too_late: int
    dropped: int
    horizon_us: int
    attempts: int
    version: int
    schema_version: int
    content_hash: str | None
    first_seen_us: int | None
    last_seen_us: int | None
    small_state: bytes | None
    state_bytes: int | None
    last_seq: int | None
    is_open: int

    @property
    def name(self) -> Name:
        return self.pipeline, self.entity, self.stream

    @property
    def standing(self) -> Standing:
        return Standing(
            self.generation, self.commits, self.head_seq, self.items, self.changed, self.dropped
        )

    @property
    def has_short_ledger(self) -> bool:
        """Whether its segments come with the page of keys."""
        return self.last_seq is not None and (
            self.last_seq <= _SHORT_SEQ and self.items <= _SHORT_ITEMS
        )


class CoverageRow(NamedTuple):
    """An interval of a stream's coverage."""

    key_id: int
    generation: int
    start_us: int
    end_us: int


class LeaseRow(NamedTuple):
    """A lease as it is stored, and the time by the same clock."""

    key_id: int
    role: str
    owner: str
    token: int
    ttl_us: int
    renewed_us: int
    expires_us: int
    now_us: int


class KeptRow(NamedTuple):
    """A state in history; ``small_state`` is None where it is a large one."""

    key_id: int
    version: int
    schema_version: int
    small_state: bytes | None


class KeyPage(NamedTuple):
    """Some keys in order, with what belongs to them, as they stood at one moment."""

    keys: list[KeyRow]
    coverage: list[CoverageRow]
    leases: list[LeaseRow]
    history: list[KeptRow]
    short_ledgers: dict[int, LedgerPage]
    """By key_id; the others are read one by one."""


class Standing(NamedTuple):
    """Where a stream stands: each commit changes it."""

    generation: int
    commits: int
    head_seq: int
    items: int
    changed: int
    dropped: int

    def agrees_with(self, distinct: int) -> bool:
        """Whether so many distinct ids in the ledger are what the counters say.

        An id that was committed with several contents may have been dropped once for each, and a
        stream that was rewound may have dropped what it did not have before.
        """
        missing = self.items - distinct
        if self.changed or self.generation > 1:
            return 0 <= missing <= self.dropped
        return missing == self.dropped


class SegmentRow(NamedTuple):
    """A segment of the ledger as it is stored."""

    seq: int
    generation: int
    level: int
    items: int
    low: bytes
    high: bytes
    raw_bytes: int
    token: int
    payload: bytes


class LedgerPage(NamedTuple):
    """Some segments of a stream, and where it stood at that moment; None: it is gone."""

    standing: Standing | None
    segments: list[SegmentRow]
    is_last: bool


class OperationRow(NamedTuple):
    """An operation as it is stored; ``small_result`` is None where it is none or a large one."""

    operation_id: str
    status: str
    owner: str
    token: int
    attempts: int
    ttl_us: int
    expires_us: int
    completed_us: int | None
    result_expires_us: int | None
    now_us: int
    small_result: bytes | None
    result_bytes: int | None


class Orphans(NamedTuple):
    """Records of one sort that belong to no key."""

    what: str
    key_id: int
    records: int


def key_page(scope: Scope) -> Program[tuple[KeyPage, Scope | None]]:
    """The first keys of the scope, of one pipeline, and what is left of it; perhaps nothing is."""
    part = yield from one_pipeline(scope)
    if part is None:
        return KeyPage([], [], [], [], {}), None
    page_size: dict[str, SqlValue] = {"limit": _PAGE_KEYS, "inline_bytes": INLINE_BYTES}
    rows = yield Statement("upkeep.keys", {**part.params(), **page_size})
    keys = [KeyRow(*row) for row in rows]
    if not keys:  # the page before this one ended with its pipeline
        return KeyPage([], [], [], [], {}), scope.behind(part)
    yield from dictionaries.learn([row.small_state for row in keys])
    here = {**Scope(keys[0].name, keys[-1].name).params(), "limit": len(keys)}
    coverage = yield Statement("upkeep.coverage", here)
    leases = yield Statement("upkeep.leases", here)
    kept = yield Statement("upkeep.history", {**here, "inline_bytes": _INLINE_KEPT_BYTES})
    yield from dictionaries.learn([row[-1] for row in kept])
    page = KeyPage(
        keys,
        [CoverageRow(*row) for row in coverage],
        [LeaseRow(*row) for row in leases],
        [KeptRow(*row) for row in kept],
        (yield from _short_ledgers(keys, here)),
    )
    is_cut = len(keys) == _PAGE_KEYS
    return page, scope.beyond(keys[-1].name) if is_cut else scope.behind(part)


def ledger_page(key_id: int, after_seq: int, *, only_one: bool = False) -> Program[LedgerPage]:
    """The stream's first segments behind ``after_seq``, or the first one only."""
    limit = 1 if only_one else _PAGE_SEGMENTS
    standing = yield Statement("upkeep.standing", {"key_id": key_id})
    rows = yield Statement(
        "upkeep.segments", {"key_id": key_id, "after_seq": after_seq, "limit": limit}
    )
    segments = [SegmentRow(*row) for row in rows]
    return LedgerPage(Standing(*standing[0]) if standing else None, segments, len(segments) < limit)


def operation_page(after: str) -> Program[list[OperationRow]]:
    """The first operations behind the id ``after``."""
    rows = yield Statement(
        "upkeep.operations",
        {"after": after, "limit": _PAGE_OPERATIONS, "inline_bytes": INLINE_BYTES},
    )
    return [OperationRow(*row) for row in rows]


def orphan_page(after: int) -> Program[tuple[list[Orphans], int | None]]:
    """What belongs to no key in the next range of key_ids; where to go on, None at the end."""
    rows = yield Statement("upkeep.next_key_id", {"after": after})
    first: int | None = rows[0][0]
    if first is None:
        return [], None
    beyond = first + _ORPHAN_KEY_IDS
    found = yield Statement("upkeep.orphans", {"first": first, "beyond": beyond})
    return [Orphans(*row) for row in found], beyond - 1


def state(key_id: int) -> Program[bytes | None]:
    """The framed state of a key."""
    framed = _only((yield Statement("upkeep.state", {"key_id": key_id})))
    yield from dictionaries.learn([framed])
    return framed


def kept_state(row: KeptRow) -> Program[bytes | None]:
    """The framed state of a version in history."""
    where = {"key_id": row.key_id, "version": row.version, "schema_version": row.schema_version}
    framed = _only((yield Statement("upkeep.kept_state", where)))
    yield from dictionaries.learn([framed])
    return framed


def result(operation_id: str) -> Program[bytes | None]:
    """The framed result of an operation."""
    return _only((yield Statement("upkeep.result", {"operation_id": operation_id})))


def _short_ledgers(keys: list[KeyRow], here: dict[str, SqlValue]) -> Program[dict[int, LedgerPage]]:
    short = {row.key_id: LedgerPage(row.standing, [], True) for row in keys if row.has_short_ledger}
    if short:
        limits = {"short_seq": _SHORT_SEQ, "short_items": _SHORT_ITEMS}
        for key_id, *segment in (yield Statement("upkeep.short_ledgers", {**here, **limits})):
            short[key_id].segments.append(SegmentRow(*segment))
    return short


def _only(rows: Rows) -> bytes | None:
    return rows[0][0] if rows else None
