"""Exchange: what an export is made of: JSON Lines, one record a line, each with a checksum.

The first line is the header, the last one says how many lines there are. An entity's lines follow
each other, in the order of the entities: its keys, each with what belongs to it right behind.
docs/how-to/export-and-import.md describes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from belaypin.errors import CorruptRecord, SchemaTooNew

__all__ = [
    "FORMAT",
    "Chain",
    "CoverageLine",
    "End",
    "Entity",
    "FailureLine",
    "Header",
    "HistoryLine",
    "KeyLine",
    "Line",
    "OriginalLine",
    "Record",
    "SegmentLine",
    "read_entities",
    "read_header",
]

FORMAT = 1

_SUM_BYTES = 8
_SUM_AT = -len(',"sum":""}') - 2 * _SUM_BYTES
_MIN_TIME = -62_135_596_800_000_000


class Line(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind"):
    """One line."""


class Header(Line, frozen=True, tag="header"):
    """The first line. ``export_id`` names this very export, for an import to be gone on with."""

    format: int
    pipeline: str
    export_id: str
    belaypin: str
    at_us: int


class KeyLine(Line, frozen=True, kw_only=True, tag="key"):
    """A key: the columns of its row (what is 0 or nothing is left out), and small things of it."""

    entity: str
    stream: str
    generation: int = 1
    commits: int = 0
    head_seq: int = 0
    progress: str = "{}"
    is_open: int = 0
    items: int = 0
    skipped: int = 0
    changed: int = 0
    late: int = 0
    stale: int = 0
    too_late: int = 0
    dropped: int = 0
    horizon_us: int = _MIN_TIME
    processor: int = 0
    revision: int | None = None
    failures: int = 0
    attempts: int = 0
    priority: int = 0
    version: int = 0
    schema_version: int = 0
    content_hash: str | None = None
    first_seen_us: int | None = None
    last_seen_us: int | None = None
    created_us: int = 0
    updated_us: int = 0
    completed_us: int | None = None
    runs: int = 0
    busy_us: int = 0
    failed_runs: int = 0
    failed_us: int | None = None
    failed_role: str | None = None
    error: str | None = None
    traceback: str | None = None
    next_try_us: int | None = None
    quarantined_us: int | None = None
    quarantine_reason: str | None = None
    state: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    leases: tuple[tuple[str, int], ...] = ()
    """Role and token of each lease that was ever taken."""


class CoverageLine(Line, frozen=True, tag="coverage"):
    """Some of the intervals of the key before, each [start, end) in microseconds."""

    intervals: tuple[tuple[int, int], ...]


class SegmentLine(Line, frozen=True, kw_only=True, tag="segment"):
    """A packed segment of the ledger of the key before, as it lies in the database."""

    seq: int
    level: int
    items: int
    low: bytes
    high: bytes
    raw_bytes: int
    token: int
    created_us: int
    newest_us: int | None = None
    payload: bytes


class HistoryLine(Line, frozen=True, kw_only=True, tag="history"):
    """A state that was replaced."""

    version: int
    schema_version: int
    state: msgspec.Raw
    content_hash: str | None = None
    saved_us: int
    kept_us: int
    token: int | None = None
    reason: str


class OriginalLine(Line, frozen=True, kw_only=True, tag="original"):
    """A state that a newer schema replaced."""

    schema_version: int
    version: int
    state: msgspec.Raw
    replaced_by: int
    replaced_us: int


class FailureLine(Line, frozen=True, kw_only=True, tag="failure"):
    """An item that was put aside."""

    item_id: str
    event_us: int | None = None
    is_hole: int = 0
    status: str
    attempts: int
    next_try_us: int
    error: str
    traceback: str
    fingerprint: bytes | None = None
    payload: bytes | None = None
    first_us: int
    last_us: int
    token: int


class End(Line, frozen=True, tag="end"):
    """The last line: how many there are, itself included."""

    lines: int


class Entity(NamedTuple):
    """An entity's keys in order, and what belongs to each."""

    name: str
    keys: list[tuple[KeyLine, list[Line]]]

    @property
    def items(self) -> int:
        return sum(key.items for key, _ in self.keys)

    @property
    def rows(self) -> int:
        return sum(1 + len(parts) for _, parts in self.keys)

    def lines(self) -> Iterator[Line]:
        """The entity as it is written."""
        for key, parts in self.keys:
            yield key
            yield from parts


Record = (
    Header | KeyLine | CoverageLine | SegmentLine | HistoryLine | OriginalLine | FailureLine | End
)
_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


class Chain:
    """Makes lines of records, and records of lines: each checksum covers the one before as well.

    So a line that is missing, twice or out of its place is found where it is.

    >>> line = Chain().encode(End(7))
    >>> line
    b'{"kind":"end","lines":7,"sum":"538ad3c295378684"}\\n'
    >>> Chain().read(line)
    End(lines=7)
    """

    def __init__(self) -> None:
        self.lines = 0
        """How many there were."""
        self._sum = b""

    def encode(self, line: Line) -> bytes:
        """The record as a line, with its checksum and a line feed."""
        body = _encode(line)
        self._next(body)
        return body[:-1] + b',"sum":"' + self._sum + b'"}\n'

    def read(self, text: bytes | str) -> Record:
        """The record of the next line. Raises CorruptRecord if it is not what was written."""
        raw = (text.encode() if isinstance(text, str) else bytes(text)).rstrip(b"\r\n")
        body = raw[:_SUM_AT] + b"}"
        self._next(body)
        if raw[_SUM_AT:] != b',"sum":"' + self._sum + b'"}':
            raise CorruptRecord(
                f"Line {self.lines} of this export is damaged, out of its place, or is none: its "
                f"checksum is another. What was imported before it is whole, entity by entity. "
                f"Copy or make the export again, then import that."
            )
        try:
            return _decode.decode(body)
        except msgspec.MsgspecError as error:
            raise CorruptRecord(
                f"Line {self.lines} of this export is no record: {error}. Make the export again."
            ) from error

    def _next(self, body: bytes) -> None:
        self.lines += 1
        self._sum = blake2b(self._sum + body, digest_size=_SUM_BYTES).hexdigest().encode()


def read_header(chain: Chain, lines: Iterator[bytes | str]) -> Header:
    """The first line. Raises SchemaTooNew if it says that this code can't read the others."""
    header = chain.read(next(lines, b""))
    if not isinstance(header, Header):
        raise CorruptRecord("The first line is no header: this is no export, or not all of it.")
    if header.format > FORMAT:
        raise SchemaTooNew(
            f"This export has format {header.format}, newer than {FORMAT}, which this belaypin "
            f"reads. Nothing was imported. Upgrade belaypin, then import it again."
        )
    return header


def read_entities(chain: Chain, lines: Iterable[bytes | str]) -> Iterator[Entity]:
    """The entities of the lines behind the header, each once it is whole.

    Raises CorruptRecord for a line that is damaged, missing or out of place.
    """
    entity: Entity | None = None
    for text in lines:
        line = chain.read(text)
        if isinstance(line, KeyLine):
            if entity is None or line.entity != entity.name:
                if entity is not None:
                    yield entity
                entity = Entity(line.entity, [])
            entity.keys.append((line, []))
        elif isinstance(line, End):
            if entity is not None:
                yield entity
            return
        elif entity is not None:
            entity.keys[-1][1].append(line)
    raise CorruptRecord(
        f"This export ends behind line {chain.lines}, without its last line: it was cut off. What "
        f"is imported is whole, entity by entity. Copy or make it again, then import that."
    )
