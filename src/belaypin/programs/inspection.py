"""Inspection: what must hold of each stored record by itself; pure checks that yield findings.

A record that contradicts itself is an "error"; one that is sound but was left behind, a "warning".
Each advice is something that can be done today, and that can't double or lose an item unless it
says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from itertools import pairwise
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from belaypin.codec import decode_frame, load_state
from belaypin.errors import BelaypinError, CorruptRecord, SchemaTooNew, UsageError
from belaypin.keys import Key
from belaypin.programs.disposal import StoredFailure
from belaypin.programs.outbox import StoredRow
from belaypin.programs.pages import NO_WINDOWS, OpenWindow
from belaypin.programs.scope import Name
from belaypin.programs.upkeep import (
    CoverageRow,
    KeptRow,
    KeyRow,
    LeaseRow,
    OperationRow,
    Orphans,
)
from belaypin.records.failure import load_item
from belaypin.records.reports import Finding
from belaypin.times import MAX_US, MIN_US

Row = TypeVar("Row")
P = ParamSpec("P")
Check = Callable[Concatenate[Row, P], Iterator[Finding]]

__all__ = [
    "check_attempts",
    "check_coverage",
    "check_dictionary",
    "check_failure",
    "check_kept",
    "check_key",
    "check_lease",
    "check_message",
    "check_operation",
    "check_orphans",
    "check_result",
    "check_state",
    "error",
    "readable_key",
    "warning",
]

ABANDONED_AFTER_US = 3_600_000_000
"""A running operation whose time ended this long ago is reported: nobody has asked for it again."""

_EXPIRY_SLACK_US = 1_000_000  # the clock is read twice in one statement
_IDENTITY = re.compile(r"[a-z0-9-]+:[a-z0-9]+:[0-9a-f]+")
_UPGRADE = "Upgrade belaypin here, and verify again with the newer version."


def error(kind: str, key: Key | None, where: str, problem: str, advice: str) -> Finding:
    """A record that contradicts itself or another."""
    return Finding("error", kind, key, where, problem, advice)


def warning(kind: str, key: Key | None, where: str, problem: str, advice: str) -> Finding:
    """A sound record that was left behind."""
    return Finding("warning", kind, key, where, problem, advice)


def readable_key(name: Name) -> Key | None:
    """The stored name as a Key, if it is one."""
    try:
        return Key(*name)
    except UsageError:
        return None


def check_state(framed: bytes, row: KeyRow) -> Iterator[Finding]:
    """A stored state decodes, and its checksum holds."""
    key = readable_key(row.name)
    yield from _framed_json(
        framed,
        "state-corrupt",
        key,
        "state",
        f"Restore state of this row (belaypin_checkpoint, key_id = {row.key_id}) from a backup, or "
        f"give it a new one: store.save(key, state).",
    )


def check_kept(framed: bytes, row: KeptRow, key: Key | None) -> Iterator[Finding]:
    """A state in history decodes, and its checksum holds."""
    yield from _framed_json(
        framed,
        "history-corrupt",
        key,
        f"version {row.version} in history",
        f"Nothing but a way back to this version is lost. Restore the row from a backup, or, if no "
        f"savepoint needs it, delete it (belaypin_history, key_id = {row.key_id}, version = "
        f"{row.version}).",
    )


def check_result(framed: bytes, row: OperationRow) -> Iterator[Finding]:
    """An operation's stored result decodes, and its checksum holds."""
    yield from _framed_json(
        framed,
        "result-corrupt",
        None,
        f"operation {row.operation_id!r}",
        "Its effect is committed; only what it returned is lost. Restore the row from a backup. Do "
        "not delete it: the operation would run again.",
    )


def check_dictionary(dictionary_id: int, damage: BelaypinError | None) -> Iterator[Finding]:
    """A trained dictionary: whole, and the one that it is named for."""
    if isinstance(damage, SchemaTooNew):
        where = f"dictionary {dictionary_id}"
        yield warning("newer-record", None, where, f"{damage}", _UPGRADE)
    elif damage is not None:
        yield error(
            "dictionary-corrupt",
            None,
            f"dictionary {dictionary_id}",
            f"{damage}",
            "Restore its row of belaypin_dictionary from a backup: the states that need it can't "
            "be read without it, but by processes that know it from before.",
        )


def check_message(row: StoredRow) -> Iterator[Finding]:
    """A message of the outbox: its payload, and what has become of it."""
    where = f"message {row.key!r} to {row.topic!r}"
    yield from _framed_json(
        row.payload,
        "message-corrupt",
        None,
        where,
        "What it told of is committed; only its payload is lost. Restore the row from a backup, or "
        "delete it and send the message again under the same key.",
    )
    if (row.status == "delivered") != (row.delivered_us is not None) or _is_bad(row.attempts, 0):
        yield error(
            "message-impossible",
            None,
            where,
            f"It is {row.status}, delivered at {row.delivered_us} after {row.attempts} attempts: "
            f"no call wrote that.",
            "Ask its receiver whether it has this key. If not, set status = 'waiting', attempts = "
            "0 and delivered_us = NULL in this row of belaypin_outbox: it is delivered again.",
        )


def check_failure(row: StoredFailure) -> Iterator[Finding]:
    """An item that was put aside: its payload, its key, and that its instant is a hole."""
    where = f"failure {row.failure_id}"
    if row.pipeline is None:
        yield error(
            "orphan-failure",
            None,
            f"belaypin_failure, key_id {row.key_id}, {where}",
            "It belongs to no key: its checkpoint row is gone.",
            "Restore the row of belaypin_checkpoint from a backup. If the key was deleted on "
            "purpose, delete this row as well.",
        )
        return
    key = readable_key((row.pipeline, row.entity or "", row.stream or ""))
    try:
        if row.payload is not None:
            load_item(row.payload, f"the payload of {where}")
    except (BelaypinError, TypeError, ValueError) as damage:
        yield error(
            "failure-corrupt",
            key,
            where,
            f"{damage}",
            "Restore payload of this row of belaypin_failure from a backup, or set it to NULL: the "
            "item is then taken from the source when it is fetched again.",
        )
    if row.is_uncounted:
        yield error(
            "failure-uncounted",
            key,
            where,
            "The key's counter says that it has no failures, so its workers do not look for them.",
            f"Stop its workers, then set failures = 1 in belaypin_checkpoint where key_id = "
            f"{row.key_id}: the next commit that meets one counts them.",
        )
    if row.is_covered:
        yield error(
            "failure-covered",
            key,
            where,
            "Its instant counts as covered, although the item is not processed.",
            "Nothing is lost as long as this row is there. Settle it: store.replay(failure_id=...) "
            "or store.skip(failure_id=...).",
        )


def check_attempts(operation_id: str, attempts: int) -> Finding:
    """Attempts at an operation that is not there."""
    return error(
        "orphan-attempts",
        None,
        f"belaypin_attempt, operation {operation_id!r}",
        f"{attempts} attempts belong to no operation: its row is gone.",
        "Restore the row of belaypin_operation from a backup; until then the next call runs the "
        "operation again. If it was deleted on purpose, delete these as well.",
    )


def _total(check: Check[Row, P]) -> Check[Row, P]:
    """A check that also holds where a column has a value of another type, as SQLite allows."""

    @wraps(check)
    def total(row: Row, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[Finding]:
        try:
            yield from check(row, *args, **kwargs)
        except TypeError as damage:
            yield error(
                "column-type",
                None,
                f"{row!r:.500}",
                f"A column holds a value that is not of its type: {damage}.",
                "Restore the row from a backup.",
            )

    return total


@_total
def check_key(row: KeyRow) -> Iterator[Finding]:
    """What a checkpoint says of itself, its state aside."""
    key = readable_key(row.name)
    if key is None:
        yield error(
            "key-unreadable",
            None,
            f"checkpoint {row.name!r} (key_id {row.key_id})",
            "No call of belaypin could have made this key, and none can read it.",
            "Restore the row's pipeline, entity and stream from a backup.",
        )
    counters = row._asdict()
    bad = [name for name in _COUNTERS if _is_bad(counters[name], _COUNTERS[name])]
    if bad:
        shown = ", ".join(f"{name} = {counters[name]!r}" for name in bad)
        yield error(
            "checkpoint-impossible",
            key,
            "checkpoint",
            f"It holds what was never written: {shown}.",
            f"Restore these columns of belaypin_checkpoint (key_id {row.key_id}) from a backup.",
        )
    yield from _check_head(row, key)
    yield from _check_content(row, key)
    yield from _check_windows(row, key)


@_total
def check_coverage(
    rows: Sequence[CoverageRow], key: Key | None, generation: int
) -> Iterator[Finding]:
    """A key's intervals: in order, none empty, none touching; of no generation to come."""
    for row in rows:
        shown = f"[{row.start_us}, {row.end_us})"
        if not MIN_US <= row.start_us < row.end_us <= MAX_US:
            problem = f"{shown} (microseconds) is empty, or lies outside the years 1 to 9999."
            yield _bad_interval("coverage-empty", row, key, problem)
        if row.generation > generation:
            problem = f"{shown} is of generation {row.generation}; the key is at {generation}."
            yield _bad_interval("coverage-generation", row, key, problem)
    for before, row in pairwise(rows):
        if before.generation == row.generation and row.start_us <= before.end_us < row.end_us:
            problem = (
                f"[{row.start_us}, {row.end_us}) meets [{before.start_us}, {before.end_us}): the "
                f"two should be one."
            )
            yield _bad_interval("coverage-touching", row, key, problem)
        elif before.generation == row.generation and row.end_us <= before.end_us:
            problem = f"It lies within [{before.start_us}, {before.end_us})."
            yield _bad_interval("coverage-touching", row, key, problem)


@_total
def check_lease(row: LeaseRow, key: Key | None) -> Iterator[Finding]:
    """A lease: its token and its times."""
    where = f"lease of role {row.role!r}"
    wait = "Stop its workers, then release it: set expires_us = 0 in this row of belaypin_lease."
    if row.token <= 0:
        yield error(
            "lease-token",
            key,
            where,
            f"Its token is {row.token}: tokens begin above 0 and only grow.",
            "Restore the row from a backup, or set its token to the present time in microseconds.",
        )
    if row.ttl_us <= 0 or not row.owner:
        yield error(
            "lease-expiry", key, where, f"It lasts {row.ttl_us} us for {row.owner!r}.", wait
        )
    elif row.expires_us and abs(row.expires_us - row.renewed_us - row.ttl_us) > _EXPIRY_SLACK_US:
        problem = (
            f"It expires at {row.expires_us}, which is not its last renewal ({row.renewed_us}) "
            f"plus its lifetime ({row.ttl_us})."
        )
        yield error("lease-expiry", key, where, problem, wait)
    elif row.expires_us > row.now_us + 2 * row.ttl_us:
        yield warning(
            "lease-ahead-of-clock",
            key,
            where,
            "It was taken before the database's clock was set back.",
            "Nothing need be done: it counts as expired, and the next worker takes it over.",
        )


@_total
def check_operation(row: OperationRow) -> Iterator[Finding]:
    """An operation, its result aside."""
    where = f"operation {row.operation_id!r}"
    if row.token <= 0 or row.attempts <= 0 or row.ttl_us <= 0 or not row.owner:
        yield error(
            "operation-impossible",
            None,
            where,
            f"Its token is {row.token}, its attempts {row.attempts}, its ttl_us {row.ttl_us}, its "
            f"owner {row.owner!r}: no call wrote that.",
            "Restore the row from a backup.",
        )
    is_done = row.status == "done"
    expires_us = row.result_expires_us
    is_expired = expires_us is not None and expires_us <= row.now_us
    has_result = row.result_bytes is not None or is_expired
    if is_done != has_result or is_done != (row.completed_us is not None):
        yield error(
            "operation-incomplete",
            None,
            where,
            f"It is {row.status}, but has "
            f"{'no' if row.result_bytes is None else 'a'} result and "
            f"{'no' if row.completed_us is None else 'a'} time of completion.",
            "Find out in your own tables whether its effect is there. If so restore the row from a "
            "backup; if not, delete it, and the next call runs the operation.",
        )
    if row.status == "running" and row.expires_us + ABANDONED_AFTER_US <= row.now_us:
        yield warning(
            "operation-abandoned",
            None,
            where,
            f"Attempt {row.attempts} ended without a result, and nobody has asked for it since.",
            "Call store.once with this id again: it takes the operation over and runs it.",
        )


def check_orphans(found: Orphans) -> Finding:
    """Records that belong to no key."""
    table = _TABLES[found.what]
    return error(
        f"orphan-{found.what}",
        None,
        f"{table}, key_id {found.key_id}",
        f"{found.records} {found.what} records belong to no key: its checkpoint row is gone.",
        "Restore the row of belaypin_checkpoint from a backup; until then the key starts anew, "
        "and its items count as new. If the key was deleted on purpose, delete these as well.",
    )


_TABLES = {
    "segments": "belaypin_segment",
    "coverage": "belaypin_coverage",
    "leases": "belaypin_lease",
    "history": "belaypin_history",
    "savepoints": "belaypin_savepoint_key",
}

_COUNTERS = {
    "generation": 1,
    "head_seq": 0,
    "items": 0,
    "skipped": 0,
    "changed": 0,
    "late": 0,
    "too_late": 0,
    "dropped": 0,
    "horizon_us": MIN_US,
    "attempts": 0,
    "version": 0,
    "schema_version": 0,
}
"""The least that each column may hold."""


def _is_bad(value: object, least: int) -> bool:
    return not isinstance(value, int) or value < least


def _check_head(row: KeyRow, key: Key | None) -> Iterator[Finding]:
    if row.last_seq is not None and row.last_seq > row.head_seq:
        yield error(
            "segment-beyond-head",
            key,
            f"segment {row.last_seq}",
            f"The key's newest segment should be {row.head_seq}, as its head_seq says. Workers "
            f"that know the ledger may not see the newer ones.",
            f"Stop its workers, then set head_seq = {row.last_seq} in belaypin_checkpoint where "
            f"key_id = {row.key_id}.",
        )


def _check_content(row: KeyRow, key: Key | None) -> Iterator[Finding]:
    times = (row.first_seen_us, row.last_seen_us)
    if row.content_hash is None:
        sound = times == (None, None)
    else:
        sound = None not in times and bool(_IDENTITY.fullmatch(row.content_hash))
    if not sound:
        yield error(
            "content-hash",
            key,
            "content hash",
            f"{row.content_hash!r}, first seen {times[0]}, last seen {times[1]}: no content was "
            f"committed like that.",
            "Set content_hash, first_seen_us and last_seen_us of this row to NULL: the content "
            "counts as new and is processed once more.",
        )


def _check_windows(row: KeyRow, key: Key | None) -> Iterator[Finding]:
    try:
        windows = msgspec.json.decode(row.progress, type=dict[str, OpenWindow])
        bad = [role for role, window in windows.items() if not _is_sound(window)]
        problem = f"The open windows of {bad} have ends that no window has." if bad else ""
    except (msgspec.MsgspecError, TypeError, ValueError) as damage:
        problem = f"The open windows can't be read: {damage}."
    if problem:
        yield error(
            "window-unreadable",
            key,
            "open windows",
            problem,
            "Stop its workers, then set progress = '{}' in this row: the window begins again at "
            "its first page, and the ledger knows the items that are committed.",
        )
    elif (row.progress != NO_WINDOWS) != bool(row.is_open):
        yield warning(
            "open-flag",
            key,
            "open windows",
            f"Plans go by is_open, which is {row.is_open} and should be {1 - row.is_open}: code from "
            f"before version 8 of the tables, or a hand, wrote its windows.",
            "Pass this report to store.plan(findings=...), and that plan to store.recover.",
        )


def _framed_json(
    framed: bytes, kind: str, key: Key | None, where: str, advice: str
) -> Iterator[Finding]:
    try:
        if not isinstance(framed, bytes):
            raise CorruptRecord(f"It is no bytes but {type(framed).__name__}.")
        load_state(decode_frame(framed, what=where).raw, object)
    except SchemaTooNew as newer:
        yield warning("newer-record", key, where, f"{newer}", _UPGRADE)
    except BelaypinError as damage:
        yield error(kind, key, where, f"{damage}", advice)


def _is_sound(window: OpenWindow) -> bool:
    return MIN_US <= window.start_us <= window.end_us <= MAX_US


def _bad_interval(kind: str, row: CoverageRow, key: Key | None, problem: str) -> Finding:
    return error(
        kind,
        key,
        f"coverage, interval at {row.start_us}",
        problem,
        f"Delete this row of belaypin_coverage (key_id {row.key_id}, generation {row.generation}, "
        f"start_us {row.start_us}): its time becomes a gap that windows() fetches again, and the "
        f"ledger knows the items that are committed.",
    )
