"""Pages: the one transaction that holds a page's ledger, cursor, coverage and fencing check."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from belaypin.errors import Fenced
from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.membership import LIMIT_ITEMS, Membership
from belaypin.processors import processor_too_new
from belaypin.program import Program, Statement
from belaypin.programs import audit, checkpoints, coverage, failures, horizon, leases, ledger
from belaypin.programs.failures import Failures
from belaypin.programs.leases import Fence
from belaypin.times import MIN_US

__all__ = [
    "NO_WINDOWS",
    "Advance",
    "Counts",
    "OpenWindow",
    "Stream",
    "StreamRow",
    "begin",
    "commit",
    "read",
    "resolve",
    "resumable",
]


class OpenWindow(msgspec.Struct, frozen=True):
    """A window that is being processed: where it lies, and the cursor of its next page."""

    start_us: int
    end_us: int
    is_head: bool
    covered_to_us: int
    cursor: Any = None
    newest_us: int | None = None
    """The latest event time that the source returned in this window so far, if items have one."""
    caps_at_newest: bool = False
    """Cover no later than ``newest_us``: what lies beyond was asked for, but not shown to exist."""

    @property
    def proven_end_us(self) -> int:
        """How far the window may count as covered, now that it is finished."""
        if not (self.is_head and self.caps_at_newest):
            return self.end_us
        if self.newest_us is None:
            return self.start_us
        return max(self.start_us, min(self.end_us, self.newest_us))


NO_WINDOWS = "{}"
"""The progress of a stream that has no window open."""

Progress = dict[str, OpenWindow]
_PROGRESS: msgspec.json.Decoder[Progress] = msgspec.json.Decoder(Progress)


class StreamRow(NamedTuple):
    """The part of a stream's checkpoint that its commits read and write."""

    key_id: int
    generation: int
    commits: int
    commit_id: str | None
    head_seq: int
    barrier_seq: int
    """Up to here segments belong to a savepoint, and are not merged with later ones."""
    progress: str
    processor: int
    failures: int
    horizon_us: int
    now_us: int

    def open_windows(self) -> Progress:
        """The windows in progress, by role."""
        return _PROGRESS.decode(self.progress)


class Stream:
    """A stream as one worker knows it. Stale knowledge costs a read, never a wrong answer."""

    def __init__(self, key: Key, limit_items: int = LIMIT_ITEMS, *, processor: int = 0) -> None:
        self.key = key
        self.processor = processor
        """The version of the user's code that processes it here."""
        self.key_id: int | None = None
        """Its row; None as long as it has none."""
        self.is_provisional = False
        """Whether the row was made in a transaction that is not durable yet."""
        self.row: StreamRow | None = None
        self._limit_items = limit_items
        self.membership = Membership(limit_items)

    def reset(self) -> None:
        """Forget everything: after a failure, nobody knows what became of the last commit."""
        self.key_id, self.row, self.is_provisional = None, None, False
        self.membership = Membership(self._limit_items)

    def ended(self, *, durable: bool) -> None:
        """A transaction that had begun on this stream was committed, or undone."""
        if self.is_provisional and not durable:
            self.reset()
        self.is_provisional = False


class Counts(NamedTuple):
    """How many items of a commit were new or changed, skipped, changed, late, stale, too late."""

    items: int = 0
    skipped: int = 0
    changed: int = 0
    late: int = 0
    stale: int = 0
    too_late: int = 0


class Advance(NamedTuple):
    """What a commit writes beside the user's rows."""

    commit_id: str
    role: str
    window: OpenWindow | None
    """The role's open window after this commit; None: none is open."""
    cover_us: tuple[int, int] | None
    entries: Mapping[ItemId, bytes | None]
    counts: Counts
    failures: Failures
    newest_us: int | None
    """No item among the entries has a later event time; None if it is not known."""
    horizon_us: int
    """The replay horizon that the worker declares."""
    live_us: tuple[int, int] | None = None
    """From when to when the worker has listened without a break; None: it asks for windows."""


def read(stream: Stream) -> Program[StreamRow]:
    """Read the stream's row without a lock, and which segments it has.

    For a newer processor it is the row that its first commit will make: nothing is processed yet.
    """
    rows = yield Statement("stream.read", checkpoints.named(stream.key))
    if rows:
        return (yield from _take(stream, _under(stream, StreamRow(*rows[0]))))
    rows = yield Statement("clock.now")
    return StreamRow(0, 1, 0, None, 0, 0, NO_WINDOWS, stream.processor, 0, MIN_US, rows[0][0])


def resumable(
    stored: OpenWindow | None, since_us: int, until_us: int, *, is_open: bool
) -> OpenWindow | None:
    """The window that was begun, if it lies in what is wanted.

    Otherwise its cursor is given up with the next commit; the ledger knows what it had committed.
    """
    if stored is None or stored.end_us <= since_us:
        return None
    return stored if is_open or stored.end_us <= until_us else None


def begin(fence: Fence, stream: Stream) -> Program[StreamRow]:
    """Lock the lease, then the stream: until the transaction ends we are its only writer.

    Raises Fenced if the lease is no longer ours or the stream was rewound, and SchemaTooNew if a
    newer processor is at work. If ours is the newer one, it starts a new generation here.
    """
    if stream.key_id is None:
        yield from leases.check(fence)
        stream.key_id = yield from checkpoints.ensure(stream.key)
        stream.is_provisional = True
    rows = yield Statement("stream.lock", {**fence.params(), "stream_id": stream.key_id})
    if not rows:
        yield from leases.check(fence)
    found = StreamRow(*rows[0][: len(StreamRow._fields)])
    row = _under(stream, found)
    if row.processor != found.processor:
        yield from _process_again(fence, stream, found, row)
    if stream.row is not None and stream.row.generation != row.generation:
        raise Fenced(
            f"{stream.key} was rewound to generation {row.generation} while this worker was at "
            f"generation {stream.row.generation}. Nothing was written. Take a new lease to go on."
        )
    return (yield from _take(stream, row))


def resolve(stream: Stream, ids: Collection[ItemId], *, with_content: bool) -> Program[None]:
    """Read what must be read to be certain about these ids. The caller has begun."""
    assert stream.key_id is not None
    yield from ledger.resolve(stream.key_id, stream.membership, ids, with_content=with_content)


def commit(fence: Fence, stream: Stream, advance: Advance) -> Program[ledger.Appended]:
    """Write what the commit adds. The caller has begun, in this same transaction."""
    row = stream.row
    assert row is not None
    appended = yield from ledger.append(
        row.key_id,
        row.generation,
        stream.membership,
        advance.entries,
        fence.token,
        advance.newest_us,
        row.barrier_seq,
    )
    stream_of = (row.key_id, row.generation)
    if advance.failures or advance.failures.standing:
        yield from failures.save(*stream_of, fence.token, advance.failures, advance.entries)
    if advance.cover_us is not None:
        if row.failures or advance.failures:
            yield from failures.cover(*stream_of, *advance.cover_us)
        else:
            yield from coverage.extend(*stream_of, *advance.cover_us)
    progress = _with_window(row, advance.role, advance.window)
    yield Statement(
        "stream.advance",
        {
            "key_id": row.key_id,
            "commit_id": advance.commit_id,
            "head_seq": appended.head_seq,
            "progress": progress,
            "horizon_us": _horizon_us(row, advance),
            "live_from_us": None if advance.live_us is None else advance.live_us[0],
            "live_to_us": None if advance.live_us is None else advance.live_us[1],
            **advance.counts._asdict(),
        },
    )
    if (progress == NO_WINDOWS) != (row.progress == NO_WINDOWS):
        yield Statement("stream.turn", {"key_id": row.key_id})
    return appended


def _under(stream: Stream, row: StreamRow) -> StreamRow:
    """The row as it is, or will be, under the stream's processor."""
    if row.processor > stream.processor:
        raise processor_too_new(stream.key, row.processor, stream.processor)
    if row.processor == stream.processor:
        return row
    is_used = row.commits > 0
    generation = row.generation + is_used
    return row._replace(
        generation=generation,
        progress=NO_WINDOWS,
        processor=stream.processor,
        failures=0,
        horizon_us=MIN_US,
    )


def _process_again(fence: Fence, stream: Stream, was: StreamRow, row: StreamRow) -> Program[None]:
    """Start the generation of a newer processor: what others committed no longer counts."""
    yield Statement(
        "stream.process_again",
        {"key_id": row.key_id, "generation": row.generation, "processor": row.processor},
    )
    if row.generation != was.generation:
        detail = {"processor": [was.processor, row.processor], "generation": row.generation}
        yield from audit.note(fence.owner, "processor", stream.key, detail)


def _take(stream: Stream, row: StreamRow) -> Program[StreamRow]:
    if stream.row is not None and stream.row.generation != row.generation:
        stream.reset()  # what was committed in another generation says nothing about this one
    stream.key_id, stream.row = row.key_id, row
    yield from ledger.refresh(row.key_id, row.generation, stream.membership, row.head_seq)
    return row


def _horizon_us(row: StreamRow, advance: Advance) -> int:
    if advance.horizon_us <= row.horizon_us:
        return row.horizon_us
    under_way = (window.start_us for window in row.open_windows().values())
    return horizon.raised_us(row.horizon_us, advance.horizon_us, under_way)


def _with_window(row: StreamRow, role: str, window: OpenWindow | None) -> str:
    windows = row.open_windows()
    windows.pop(role, None)
    if window is not None:
        windows[role] = window
    return msgspec.json.encode(windows).decode()
