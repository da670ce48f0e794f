"""Footprints: which statements of two transactions can notice each other.

Of two orders that no statement can tell apart, the explorer runs one. The relation errs on the
side of running both: it goes by whole tables, and what it can't read counts as touching everything.
It relies on what PostgreSQL promises at READ COMMITTED: nobody sees a row before its COMMIT, a
reader never waits, and writers of one row wait for each other.

Patrice Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems", 1996.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from belaypin.testing.gates import Point

__all__ = ["Footprint", "footprint", "may_notice"]

_TABLE = re.compile(
    r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE(?:\s+IF(?:\s+NOT)?\s+EXISTS)?)\s+(?:ONLY\s+)?([\w.\"]+)",
    re.IGNORECASE,
)
_ALIASED = re.compile(r",\s*([a-z_]+\w*)\s+AS\s", re.IGNORECASE)
_READ = re.compile(r"\s*SELECT\b(?!.*\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE)\b)", re.I | re.S)
_ADVISORY = re.compile(r"\bpg_advisory_xact_lock\(", re.I)
_NOT_TABLES = {"set", "select"}


class Footprint(NamedTuple):
    """The tables that a point reads, and those it writes or locks rows of; None: any of them."""

    reads: frozenset[str] | None
    writes: frozenset[str] | None
    is_end: bool = False
    """Whether it ends a transaction: then ``writes`` is all that the transaction wrote."""


_NOTHING: frozenset[str] = frozenset()
_ANYTHING = Footprint(None, None)


def footprint(point: Point, written: frozenset[str] | None) -> Footprint:
    """What ``point`` touches; ``written`` is what its transaction has written so far."""
    if point.kind in ("commit", "rollback"):
        return Footprint(_NOTHING, written, is_end=True)
    if not point.write:
        return Footprint(None, _NOTHING)  # its first statement fixes the snapshot for all it reads
    if point.kind == "begin":
        return Footprint(_NOTHING, _NOTHING)
    if point.kind == "own":
        return _ANYTHING
    found = (*_TABLE.findall(point.sql), *_ALIASED.findall(point.sql))
    tables = frozenset(name.strip('"').lower() for name in found) - _NOT_TABLES
    if not tables and _ADVISORY.search(point.sql):
        tables = frozenset({"an advisory lock"})
        return Footprint(tables, tables)
    if not tables:
        return _ANYTHING
    return Footprint(tables, _NOTHING) if _READ.match(point.sql) else Footprint(tables, tables)


def may_notice(one: Footprint, other: Footprint) -> bool:
    """Whether the order of these two points of different workers can matter.

    >>> end = Footprint(frozenset(), frozenset({"posts"}), is_end=True)
    >>> reading = Footprint(frozenset({"posts"}), frozenset())
    >>> writing = Footprint(frozenset({"posts"}), frozenset({"posts"}))
    >>> may_notice(end, reading), may_notice(reading, writing), may_notice(end, end)
    (True, False, False)
    """
    if one.is_end and other.is_end:
        return False
    if _meet(one.writes, other.writes):
        return True
    return (one.is_end and _meet(one.writes, other.reads)) or (
        other.is_end and _meet(other.writes, one.reads)
    )


def _meet(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    if one is None or other is None:
        return one != _NOTHING and other != _NOTHING
    return not one.isdisjoint(other)
