"""Storage: what a store, or a pipeline of it, takes up, kind by kind."""

from __future__ import annotations

from belaypin.program import Program, Statement
from belaypin.programs.scope import Scope
from belaypin.records.listing import Storage, Stored
from belaypin.times import from_us

__all__ = ["read"]

_OF_KEYS = {
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


def read(pipeline: str | None) -> Program[Storage]:
    """The figures of one pipeline, or of all with what belongs to none."""
    scope = Scope.of(pipeline, None).params()
    keys = yield Statement("storage.keys", scope)
    *of_keys, now_us = keys[0]
    kinds = [_stored("keys", *of_keys)]
    for kind, name in _OF_KEYS.items():
        rows = yield Statement(name, scope)
        kinds.append(_stored(kind, *rows[0]))
    for kind, name in _OF_THE_STORE.items() if pipeline is None else ():
        rows = yield Statement(name)
        kinds.append(_stored(kind, *rows[0]))
    database = yield Statement("storage.database")
    return Storage(
        at=from_us(now_us),
        pipeline=pipeline,
        kinds=tuple(kinds),
        database_bytes=database[0][0],
    )


def _stored(kind: str, rows: int, stored_bytes: int, raw_bytes: int | None) -> Stored:
    return Stored(kind=kind, rows=rows, bytes=stored_bytes, raw_bytes=raw_bytes)
