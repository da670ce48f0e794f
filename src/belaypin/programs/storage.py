"""Storage: what a store, or a pipeline of it, takes up, kind by kind."""

from __future__ import annotations

from belaypin.program import PAUSE, Program, Statement
from belaypin.programs.parts import Sums, each_part
from belaypin.programs.scope import Scope
from belaypin.records.listing import Storage, Stored
from belaypin.times import from_us

__all__ = ["read"]

_OF_KEYS = {
    "keys": "storage.keys",
    "ledger": "storage.ledger",
    "coverage": "storage.coverage",
    "failures": "storage.failures",
    "history": "storage.history",
    "originals": "storage.originals",
}
_OF_THE_STORE = {
    "operations": "storage.operations",
    "messages": "storage.messages",
    "audit": "storage.audit",
    "samples": "storage.samples",
    "dictionaries": "storage.dictionaries",
}

_PACKED = ("ledger",)
"""What is kept smaller than it is."""


def read(pipeline: str | None) -> Program[Storage]:
    """The figures of one pipeline, or of all with what belongs to none."""
    now_us = (yield Statement("clock.now"))[0][0]
    of_the_store = _OF_THE_STORE if pipeline is None else {}
    sums = {kind: Sums(3) for kind in (*_OF_KEYS, *of_the_store)}

    def read_part(part: Scope) -> Program[None]:
        for kind, name in _OF_KEYS.items():
            sums[kind].add((yield Statement(name, part.params()))[0])

    yield from each_part(Scope.of(pipeline, None), read_part)
    for kind, name in of_the_store.items():
        sums[kind].add((yield Statement(name))[0])
        yield PAUSE
    database = yield Statement("storage.database")
    return Storage(
        at=from_us(now_us),
        pipeline=pipeline,
        kinds=tuple(_stored(kind, *total.row) for kind, total in sums.items()),
        database_bytes=database[0][0],
    )


def _stored(kind: str, rows: int, stored_bytes: int, raw_bytes: int) -> Stored:
    is_packed = kind in _PACKED
    return Stored(
        kind=kind, rows=rows, bytes=stored_bytes, raw_bytes=raw_bytes if is_packed else None
    )
