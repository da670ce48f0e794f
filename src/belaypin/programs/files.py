"""The manifest of file sinks: which files are committed, and what has to become of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from belaypin.program import Program, SqlValue, Statement

__all__ = [
    "FileRow",
    "Part",
    "Ready",
    "add",
    "await_end",
    "finalised",
    "listed",
    "ready",
    "survey",
    "writers",
]

_PAGE = 1_000


class Part(NamedTuple):
    """An unfinished file that was found: its name, and the lease that it was begun under."""

    name: str
    key_id: int
    token: int


class Ready(NamedTuple):
    """A committed file that may still have its hidden name."""

    name: str
    part: str


class FileRow(NamedTuple):
    """A committed file; the Key's parts are None where its row is gone."""

    name: str
    part: str
    state: str
    generation: int
    row_count: int
    bytes: int
    sha256: str
    created_us: int
    pipeline: str | None
    entity: str | None
    stream: str | None


def add(
    sink: str, file: Ready, key_id: int, generation: int, rows: int, size: int, sha256: str
) -> Program[None]:
    """Note a file that is durable under its hidden name."""
    params: dict[str, SqlValue] = {
        "sink": sink,
        "name": file.name,
        "part": file.part,
        "key_id": key_id,
        "generation": generation,
        "row_count": rows,
        "bytes": size,
        "digest": sha256,
    }
    yield Statement("file.add", params)


def finalised(sink: str, names: Iterable[str]) -> Program[None]:
    """Note files that have their names; in one order for every worker, so that none deadlock."""
    for name in sorted(names):
        yield Statement("file.final", {"sink": sink, "name": name})


def ready(sink: str) -> Program[list[Ready]]:
    """The committed files of a sink that are not known to have their names."""
    rows = yield Statement("file.ready", {"sink": sink})
    return [Ready(*row) for row in rows]


def survey(sink: str, parts: Sequence[Part]) -> Program[tuple[list[Ready], list[Part]]]:
    """What is to be finished, and which of these parts nobody can ever commit any more.

    The parts were listed before. Whether they were committed is read after it is certain that they
    won't be; the two in this order leave no moment in between.
    """
    over = []
    for part in parts:
        owners = yield from writers(part)
        if not owners:
            over.append(part)
    files = yield from ready(sink)
    committed = {file.part for file in files}
    return files, [part for part in over if part.name not in committed]


def writers(part: Part) -> Program[list[str]]:
    """The owners who may still commit the part; more than one only by an odd chance."""
    rows = yield Statement("file.writer", {"key_id": part.key_id, "token": part.token})
    return [owner for _, owner in rows]


def await_end(part: Part) -> Program[list[str]]:
    """``writers``, once the commit that a writer may have left under way has come to its end."""
    rows = yield Statement("file.await_writer", {"key_id": part.key_id, "token": part.token})
    return [owner for _, owner in rows]


def listed(sink: str, after: str) -> Program[list[FileRow]]:
    """The next files of a sink's manifest, in the order of their names."""
    rows = yield Statement("file.list", {"sink": sink, "after": after, "limit": _PAGE})
    return [FileRow(*row) for row in rows]
