"""LangGraph's checkpoints as rows, and back; pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from belaypin import CorruptRecord, UsageError
from belaypin.codec import decode_frame, encode_frame

__all__ = [
    "Draft",
    "Place",
    "Query",
    "Row",
    "Whole",
    "config_of",
    "expendable",
    "metadata_of",
    "rows_of_writes",
    "tuple_of",
]

Params = dict[str, Any]


class Place(NamedTuple):
    """Which checkpoint a config means; without an id, the newest of its thread and namespace."""

    thread_id: str
    ns: str
    checkpoint_id: str | None

    @classmethod
    def of(cls, config: Any) -> Place:
        configurable = config.get("configurable", {})
        if configurable.get("thread_id") is None:
            raise UsageError(
                "A checkpoint belongs to a thread, and the config names none: pass "
                '{"configurable": {"thread_id": "..."}}.'
            )
        ns = configurable.get("checkpoint_ns") or ""
        return cls(str(configurable["thread_id"]), ns, get_checkpoint_id(config) or None)


class Row(NamedTuple):
    """A checkpoint as it lies in the database."""

    thread_id: str
    ns: str
    checkpoint_id: str
    parent_id: str | None
    channels: str
    metadata: bytes
    payload: bytes

    @property
    def digests(self) -> list[str]:
        """The values that its channels have."""
        return [digest for _, digest in json.loads(self.channels).values()]


class Whole(NamedTuple):
    """A checkpoint with all that belongs to it."""

    row: Row
    values: Mapping[str, bytes]
    writes: Sequence[tuple[str, str, bytes]]


class Query(NamedTuple):
    """What to list: conditions for the database, and what only the metadata tells."""

    params: Params
    wanted: dict[str, Any]

    @classmethod
    def of(cls, config: Any, wanted: dict[str, Any] | None, before: Any) -> Query:
        given = (config or {}).get("configurable", {})
        params = {
            "thread_id": None if given.get("thread_id") is None else str(given["thread_id"]),
            "ns": given.get("checkpoint_ns"),
            "checkpoint_id": get_checkpoint_id(config) if config else None,
            "before": get_checkpoint_id(before) if before else None,
        }
        run_id = (wanted or {}).get("run_id")
        if isinstance(run_id, str):
            params["run_id"] = run_id
        return cls({k: v for k, v in params.items() if v is not None}, wanted or {})

    def fits(self, metadata: Mapping[str, Any]) -> bool:
        return all(metadata.get(name) == value for name, value in self.wanted.items())


class Draft:
    """A checkpoint on its way into the database."""

    def __init__(self, serde: Any, config: Any, checkpoint: Any, metadata: Any, new: Any) -> None:
        place = Place.of(config)
        self.values: dict[str, bytes] = {}
        self._serde = serde
        self._channels = checkpoint["channel_values"]
        self._versions = checkpoint["channel_versions"]
        known = {name: self._keep(name) for name in self._channels if name in new}
        self._known: dict[str, list[Any]] = known
        metadata = get_checkpoint_metadata(config, metadata)
        run_id = metadata.get("run_id")
        rest = {name: part for name, part in checkpoint.items() if name != "channel_values"}
        self.row: Params = {
            "thread_id": place.thread_id,
            "ns": place.ns,
            "checkpoint_id": checkpoint["id"],
            "parent_id": place.checkpoint_id,
            "run_id": run_id if isinstance(run_id, str) else None,
            "metadata": encode_frame(_packed(serde, metadata, "its metadata")),
            "payload": encode_frame(_packed(serde, rest, "its versions")),
        }

    def follow(self, parent_channels: str | None) -> None:
        """Take the values of channels that are as they were in the parent from there."""
        before = json.loads(parent_channels) if parent_channels else {}
        for name in self._channels:
            if name in self._known:
                continue
            there = before.get(name)
            if there is None or there[0] != self._versions.get(name):
                there = self._keep(name)
            self._known[name] = there
        self.row["channels"] = json.dumps(self._known, separators=(",", ":"))

    def _keep(self, name: str) -> list[Any]:
        raw = _packed(self._serde, self._channels[name], f"channel {name!r}")
        digest = hashlib.sha256(raw).hexdigest()[:32]
        self.values[digest] = encode_frame(raw)
        return [self._versions.get(name), digest]


def rows_of_writes(
    serde: Any, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
) -> list[Params]:
    """What a task has written, a row each."""
    place = Place.of(config)
    if place.checkpoint_id is None:
        raise UsageError("Writes belong to a checkpoint, and the config has no checkpoint_id.")
    return [
        {
            "thread_id": place.thread_id,
            "ns": place.ns,
            "checkpoint_id": place.checkpoint_id,
            "task_id": task_id,
            "idx": WRITES_IDX_MAP.get(channel, idx),
            "task_path": task_path,
            "channel": channel,
            "payload": encode_frame(_packed(serde, value, f"a write to {channel!r}")),
        }
        for idx, (channel, value) in enumerate(writes)
    ]


def config_of(thread_id: str, ns: str, checkpoint_id: str) -> Any:
    """The config that means this checkpoint."""
    place = {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
    return {"configurable": place}


def metadata_of(serde: Any, row: Row) -> Any:
    """What LangGraph keeps about a checkpoint."""
    return _unpacked(serde, row.metadata, f"the metadata of {_name(row)}")


def tuple_of(serde: Any, whole: Whole) -> Any:
    """A checkpoint as LangGraph has it. Raises CorruptRecord if any part is damaged or missing."""
    row, name = whole.row, _name(whole.row)
    values = {}
    for channel, (_, digest) in json.loads(row.channels).items():
        if digest not in whole.values:
            raise CorruptRecord(f"Channel {channel!r} of {name} has no value in the database.")
        values[channel] = _unpacked(serde, whole.values[digest], f"channel {channel!r} of {name}")
    rest = _unpacked(serde, row.payload, name)
    has_parent = row.parent_id is not None
    return CheckpointTuple(
        config=config_of(row.thread_id, row.ns, row.checkpoint_id),
        checkpoint={**rest, "channel_values": values},
        metadata=metadata_of(serde, row),
        parent_config=config_of(row.thread_id, row.ns, row.parent_id or "") if has_parent else None,
        pending_writes=[
            (task_id, channel, _unpacked(serde, frame, f"a write to {channel!r} of {name}"))
            for task_id, channel, frame in whole.writes
        ],
    )


def expendable(serde: Any, rows: Iterable[Row]) -> list[tuple[str, str]]:
    """All but the newest checkpoint of each namespace, and what that one is rebuilt from.

    ``rows`` are those of one thread. A delta channel's value is stored now and then only, and
    otherwise made from the writes since: the metadata counts them for each such channel.
    """
    by_place = {(row.ns, row.checkpoint_id): row for row in rows}
    newest = {ns: max(i for n, i in by_place if n == ns) for ns in {ns for ns, _ in by_place}}
    kept = set()
    for ns, checkpoint_id in newest.items():
        row: Row | None = by_place[ns, checkpoint_id]
        counted = metadata_of(serde, by_place[ns, checkpoint_id])
        missing = set(counted.get("counters_since_delta_snapshot") or ())
        while row is not None and (ns, row.checkpoint_id) not in kept:
            kept.add((ns, row.checkpoint_id))
            missing -= json.loads(row.channels).keys()
            row = by_place.get((ns, row.parent_id or "")) if missing else None
    return [place for place in by_place if place not in kept]


def _name(row: Row) -> str:
    ns = f", namespace {row.ns!r}" if row.ns else ""
    return f"checkpoint {row.checkpoint_id} of thread {row.thread_id!r}{ns}"


def _packed(serde: Any, value: Any, what: str) -> bytes:
    try:
        kind, data = serde.dumps_typed(value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"A checkpoint can't be kept, as {what} can't be serialised: {error}. Keep plain data "
            f"in the graph's state, or pass a serde that knows it."
        ) from error
    return b"\0".join((kind.encode(), bytes(data)))


def _unpacked(serde: Any, frame: bytes, what: str) -> Any:
    kind, _, data = decode_frame(bytes(frame), what=what).raw.partition(b"\0")
    return serde.loads_typed((kind.decode(), data))
