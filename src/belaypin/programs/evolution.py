"""Evolution: every state of one kind brought to the newest schema, in small steps.

A kind of state is what stands at ``pipeline / <any entity> / stream``, or at the entities
themselves. A step reads some states without a lock, upcasts them in memory, and replaces those that
nobody has written meanwhile: so it stands in nobody's way, and may be stopped anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from belaypin.codec import decode_frame, encode_frame, load_state
from belaypin.differences import differences
from belaypin.errors import BelaypinError, UsageError
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import checkpoints, dictionaries
from belaypin.records.checkpoints import StateChange, StateFailure, UpcastReport
from belaypin.schema import KEPT_VERSIONS, Schema, read_raw

__all__ = ["Kind", "Stored", "Tally", "Upcast", "batch", "confirm", "replace", "stored_at"]


class Kind(NamedTuple):
    """The states of one kind: at every entity of a pipeline, or at one stream of every entity."""

    pipeline: str
    stream: str

    def key(self, entity: str) -> Key:
        """The Key of an entity's state of this kind."""
        return Key(self.pipeline, entity, self.stream)

    def entity_of(self, key: Key) -> str:
        """The entity of a Key of this kind. Raises UsageError for another."""
        if (key.pipeline, key.stream) != self or not key.entity:
            raise UsageError(
                f"{key} is of another kind than {self.key('...')}: go on after its keys."
            )
        return key.entity


class Stored(NamedTuple):
    """A state as it was read: its bytes only if they are older than the schema asked for."""

    key_id: int
    entity: str
    version: int
    schema_version: int
    state: bytes | None


class Upcast(NamedTuple):
    """A state that was read, and what shall take its place."""

    stored: Stored
    frame: bytes
    schema_version: int


class Tally:
    """Upcasts in memory, and counts what it saw; the report lists the first ``show`` of each."""

    def __init__(self, kind: Kind, type_: Any, schema: Schema, show: int, *, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.schema_version = schema.version
        self._kind = kind
        self._type = type_
        self._schema = schema
        self._show = show
        self._current = self._newer = self._upcast = self._failed = 0
        self._changes: list[StateChange] = []
        self._failures: list[StateFailure] = []

    def take(self, stored: Stored) -> Upcast | None:
        """What shall take the state's place, if it is older and can be upcast."""
        if stored.schema_version >= self.schema_version or stored.state is None:
            self._newer += stored.schema_version > self.schema_version
            self._current += stored.schema_version == self.schema_version
            return None
        what = f"the state at {self._kind.key(stored.entity)}"
        try:
            raw = read_raw(stored.state, stored.schema_version, self._schema, what=what)
            load_state(raw, self._type)
        except Exception as error:  # noqa: BLE001 -- one bad state, or the user's type, stops no others
            self.failed(stored, str(error) if isinstance(error, BelaypinError) else repr(error))
            return None
        frame = encode_frame(raw, schema_version=self.schema_version)
        return Upcast(stored, frame, self.schema_version)

    def done(self, upcast: Upcast) -> None:
        """The state was replaced, or would have been."""
        self._upcast += 1
        if len(self._changes) < self._show:
            stored = upcast.stored
            before, after = _data(stored.state or b""), _data(upcast.frame)
            self._changes.append(
                StateChange(
                    self._kind.key(stored.entity),
                    stored.schema_version,
                    upcast.schema_version,
                    differences(before, after),
                )
            )

    def failed(self, stored: Stored, why: str) -> None:
        """The state stays as it is."""
        self._failed += 1
        if len(self._failures) < self._show:
            key = self._kind.key(stored.entity)
            self._failures.append(StateFailure(key, stored.schema_version, why))

    def report(self, last_entity: str | None) -> UpcastReport:
        """What was seen so far; ``last_entity`` is where a later run goes on, if it has to."""
        return UpcastReport(
            dry_run=self.dry_run,
            schema_version=self.schema_version,
            upcast=self._upcast,
            current=self._current,
            newer=self._newer,
            failed=self._failed,
            changes=self._changes,
            failures=self._failures,
            go_on_after=self._kind.key(last_entity) if last_entity is not None else None,
        )


def batch(kind: Kind, after_entity: str, schema_version: int, rows: int) -> Program[list[Stored]]:
    """The next states of the kind, in key order."""
    found = yield Statement(
        "state.batch",
        {
            "pipeline": kind.pipeline,
            "stream": kind.stream,
            "after_entity": after_entity,
            "schema_version": schema_version,
            "row_limit": rows,
        },
    )
    states = [Stored(*row) for row in found]
    yield from dictionaries.learn([each.state for each in states])
    return states


def stored_at(key: Key) -> Program[Stored | None]:
    """One state, read again."""
    row = yield from checkpoints.read(key)
    if row is None or row.state is None:
        return None
    return Stored(row.key_id, key.entity, row.version, row.schema_version, row.state)


def replace(upcasts: Sequence[Upcast], history: int = KEPT_VERSIONS) -> Program[list[Upcast]]:
    """Replace each state that is still the one that was read; returns those that were."""
    done = []
    for upcast in upcasts:
        stored = upcast.stored
        row = yield from checkpoints.lock(stored.key_id)
        if (row.version, row.schema_version) != (stored.version, stored.schema_version):
            continue
        yield from checkpoints.keep_original(stored.key_id, upcast.schema_version)
        yield from checkpoints.keep_version(stored.key_id, stored.version, history, "upcast")
        yield Statement(
            "state.upcast",
            {
                "key_id": stored.key_id,
                "state": (yield from dictionaries.shortened(upcast.frame, row.dictionary_id)),
                "schema_version": upcast.schema_version,
            },
        )
        done.append(upcast)
    return done


def confirm(
    kind: Kind, schema_version: int, after_id: int, rows: int
) -> Program[tuple[int | None, int]]:
    """Drop the originals of the next keys; returns where to go on (None: done) and how many."""
    found = yield Statement("original.span", {"after_id": after_id, "row_limit": rows})
    last_id: int | None = found[0][0]
    if last_id is None:
        return None, 0
    dropped = yield Statement(
        "original.confirm",
        {
            "after_id": after_id,
            "last_id": last_id,
            "pipeline": kind.pipeline,
            "stream": kind.stream,
            "schema_version": schema_version,
        },
    )
    return last_id, len(dropped)


def _data(frame: bytes) -> Any:
    return msgspec.json.decode(decode_frame(frame, what="a state").raw)
