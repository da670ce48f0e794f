"""Exchange: entities read out of a store, whole and in order, and written into another one.

Each entity is read at one moment, and written in one transaction; a note in the store says how far
an import has come. What is read is what counts: older generations, savepoints and the audit stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from belaypin.codec import decode_frame, encode_frame
from belaypin.errors import UsageError
from belaypin.exchange import (
    CoverageLine,
    Entity,
    FailureLine,
    HistoryLine,
    KeyLine,
    Line,
    OriginalLine,
    SegmentLine,
)
from belaypin.keys import Key
from belaypin.program import Program, Rows, SqlValue, Statement
from belaypin.programs import dictionaries
from belaypin.programs.scope import Scope

__all__ = ["Mark", "batch", "begin", "finish", "stored", "write"]

KEYS_TOGETHER = 500
_INTERVALS_TOGETHER = 1_000

_COLUMNS = tuple(
    name
    for name in KeyLine.__struct_fields__
    if name not in ("entity", "stream", "state", "leases")
)
_PARTS = {
    "coverage": "exchange.coverage",
    "segment": "exchange.segments",
    "history": "exchange.history",
    "original": "exchange.originals",
    "failure": "exchange.failures",
}


class Mark(msgspec.Struct):
    """How far an import has come."""

    export_id: str
    done_to: str | None = None
    is_finished: bool = False


def batch(pipeline: str, after: str | None) -> Program[list[Entity]]:
    """The next entities of a pipeline, each of them whole; none: there are no more."""
    scope = Scope.of(pipeline, None)
    if after is not None:
        scope = Scope((pipeline, after + "\x01", ""), scope.last)
    count = KEYS_TOGETHER
    while True:
        rows = yield Statement("exchange.keys", {**scope.params(), "count": count})
        if len(rows) < count:
            break
        last = rows[-1][2]
        whole = [row for row in rows if row[2] != last]
        if whole:
            rows = whole
            break
        count *= 4  # one entity has more keys than that
    return (yield from _entities(rows))


def _entities(rows: Rows) -> Program[list[Entity]]:
    ids = {"ids": msgspec.json.encode([row[0] for row in rows]).decode()}
    leases: dict[int, list[tuple[str, int]]] = {}
    for key_id, role, token in (yield Statement("exchange.leases", ids)) if rows else ():
        leases.setdefault(key_id, []).append((role, token))
    parts: dict[int, dict[str, list[Any]]] = {}
    for kind, name in _PARTS.items() if rows else ():
        for key_id, *row in (yield Statement(name, ids)):
            parts.setdefault(key_id, {}).setdefault(kind, []).append(row)
    found: list[Entity] = []
    for key_id, pipeline, entity, stream, state, *columns in rows:
        key = Key(*(part for part in (pipeline, entity, stream) if part))
        line = KeyLine(
            entity=entity,
            stream=stream,
            state=msgspec.UNSET
            if state is None
            else (yield from _json(state, f"the state at {key}")),
            leases=tuple(leases.get(key_id, ())),
            **dict(zip(_COLUMNS, columns, strict=True)),
        )
        if not found or found[-1].name != entity:
            found.append(Entity(entity, []))
        lines = yield from _lines(parts.get(key_id, {}), key)
        found[-1].keys.append((line, lines))
    return found


def _lines(parts: dict[str, list[Any]], key: Key) -> Program[list[Line]]:
    found: list[Line] = []
    intervals = [(start, end) for start, end in parts.get("coverage", ())]
    found += [
        CoverageLine(tuple(intervals[at : at + _INTERVALS_TOGETHER]))
        for at in range(0, len(intervals), _INTERVALS_TOGETHER)
    ]
    found += [_line(SegmentLine, row) for row in parts.get("segment", ())]
    found += [_line(FailureLine, row) for row in parts.get("failure", ())]
    for kind, line in (("history", HistoryLine), ("original", OriginalLine)):
        for state, *row in parts.get(kind, ()):
            raw = yield from _json(state, f"an older state at {key}")
            names = [name for name in line.__struct_fields__ if name != "state"]
            found.append(line(state=raw, **dict(zip(names, row, strict=True))))
    return found


def _line(kind: type[Line], row: Sequence[Any]) -> Line:
    return kind(**dict(zip(kind.__struct_fields__, row, strict=True)))


def _json(framed: bytes, what: str) -> Program[msgspec.Raw]:
    """A state as it was given, without the frame and the dictionary of this store."""
    yield from dictionaries.learn([framed])
    return msgspec.Raw(decode_frame(framed, what=what).raw)


def begin(pipeline: str, export_id: str, *, merge: bool) -> Program[Mark]:
    """Begin to import, or go on. Raises UsageError if there is something already, and no ``merge``."""
    mark = yield from _mark(pipeline)
    if mark is not None and mark.export_id == export_id:
        return mark
    if mark is not None and not mark.is_finished:
        raise UsageError(
            f"Another export is half imported into {Key(pipeline)}. Nothing was changed. Import "
            f"that one again, so that it is finished, and then this one."
        )
    if not merge and (yield from stored(pipeline)):
        raise UsageError(
            f"There is a pipeline {Key(pipeline)} in this store already, and what it knows is not "
            f"overwritten. Nothing was changed. Import under another name (pipeline=...), or with "
            f"merge=True only the entities that are not there."
        )
    mark = Mark(export_id)
    yield from _put(pipeline, mark)
    return mark


def stored(pipeline: str) -> Program[bool]:
    """Whether the store knows anything of the pipeline."""
    rows = yield Statement("exchange.keys", {**Scope.of(pipeline, None).params(), "count": 1})
    return bool(rows)


def write(pipeline: str, export_id: str, entities: Sequence[Entity]) -> Program[list[Entity]]:
    """Write whole entities, in one transaction; returns those that were not there before."""
    mark = yield from _mark(pipeline)
    if mark is None or mark.export_id != export_id:
        raise UsageError(f"Somebody else imports into {Key(pipeline)}. Let them finish.")
    fresh = [e for e in entities if mark.done_to is None or e.name > mark.done_to]
    if not fresh:
        return []
    scope = Scope((pipeline, fresh[0].name, ""), Scope.of(pipeline, fresh[-1].name).last)
    there = {entity for _, entity, _ in (yield Statement("exchange.ids", scope.params()))}
    new = [entity for entity in fresh if entity.name not in there]
    if new:
        yield Statement(
            "exchange.add_key", many=[_row(pipeline, key) for each in new for key, _ in each.keys]
        )
        rows = yield Statement("exchange.ids", scope.params())
        ids = {(entity, stream): key_id for key_id, entity, stream in rows}
        yield from _write_parts(new, ids)
    mark.done_to = fresh[-1].name
    yield from _put(pipeline, mark)
    return new


def finish(pipeline: str, export_id: str) -> Program[None]:
    """Everything is imported."""
    yield from _put(pipeline, Mark(export_id, None, is_finished=True))


def _write_parts(entities: Iterable[Entity], ids: dict[tuple[str, str], int]) -> Program[None]:
    coverage: list[tuple[int, int, int, int]] = []
    rows: dict[str, list[dict[str, SqlValue]]] = {}
    for entity in entities:
        for key, parts in entity.keys:
            key_id = ids[key.entity, key.stream]
            owned: dict[str, SqlValue] = {"key_id": key_id, "generation": key.generation}
            for role, token in key.leases:
                rows.setdefault("exchange.add_lease", []).append(
                    {"key_id": key_id, "role": role, "token": token}
                )
            for part in parts:
                if isinstance(part, CoverageLine):
                    coverage += [(key_id, key.generation, *span) for span in part.intervals]
                    continue
                row = {**msgspec.structs.asdict(part), **owned}
                if isinstance(part, HistoryLine | OriginalLine):
                    row["state"] = encode_frame(
                        bytes(part.state), schema_version=part.schema_version
                    )
                rows.setdefault(_ADD[type(part)], []).append(row)
    for name, many in rows.items():
        yield Statement(name, many=many)
    if coverage:
        yield Statement("exchange.add_coverage", {"rows": msgspec.json.encode(coverage).decode()})


_ADD: dict[type[Line], str] = {
    SegmentLine: "exchange.add_segment",
    HistoryLine: "exchange.add_history",
    OriginalLine: "exchange.add_original",
    FailureLine: "exchange.add_failure",
}


def _row(pipeline: str, key: KeyLine) -> dict[str, SqlValue]:
    row = msgspec.structs.asdict(key)
    del row["leases"]
    framed = None
    if key.state is not msgspec.UNSET:
        framed = encode_frame(bytes(key.state), schema_version=key.schema_version)
    return {**row, "pipeline": pipeline, "state": framed}


def _mark(pipeline: str) -> Program[Mark | None]:
    rows = yield Statement("exchange.mark", {"name": _note(pipeline)})
    return msgspec.json.decode(rows[0][0], type=Mark) if rows else None


def _put(pipeline: str, mark: Mark) -> Program[None]:
    text = msgspec.json.encode(mark).decode()
    yield Statement("exchange.put_mark", {"name": _note(pipeline), "value": text})


def _note(pipeline: str) -> str:
    return f"import/{pipeline}"
