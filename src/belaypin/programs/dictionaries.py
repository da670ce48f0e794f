"""Dictionaries in the store: read when a frame needs one, added when one was trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from belaypin.codec import decode_frame, dictionary_of, encode_frame, with_dictionary
from belaypin.dictionaries import (
    MAX_DICTIONARY_BYTES,
    MAX_STATE_BYTES,
    Dictionary,
    known,
    remember,
)
from belaypin.errors import BelaypinError, CorruptRecord
from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement

__all__ = [
    "add",
    "check",
    "learn",
    "listed",
    "of_kind",
    "recompress",
    "sample",
    "shortened",
    "span",
]

_PAGE = 200


def learn(frames: Iterable[object]) -> Program[None]:
    """Read what this process must know to decode these frames; most often that is nothing.

    A dictionary that is gone or damaged is no error here: who decodes the frame can name it.
    """
    needed = {name for frame in frames if (name := dictionary_of(frame)) is not None}
    for name in sorted(needed):
        yield from _find(name)


def shortened(frame: bytes, dictionary_id: int | None) -> Program[bytes]:
    """The same record by the dictionary of its kind, where there is one and it helps."""
    dictionary = None if dictionary_id is None else (yield from _find(dictionary_id))
    return frame if dictionary is None else with_dictionary(frame, dictionary)


def add(dictionary: Dictionary, key: Key, samples: int) -> Program[None]:
    """Make it the one that states of the kind of ``key`` are saved with."""
    yield Statement(
        "dictionary.add",
        {
            "dictionary_id": dictionary.dictionary_id,
            "pipeline": key.pipeline,
            "stream": key.stream,
            "samples": samples,
            "payload": encode_frame(dictionary.content),
        },
    )


def span() -> Program[tuple[int, int]]:
    """The first key_id, and the one behind the last."""
    rows = yield Statement("dictionary.span")
    first, last = rows[0]
    return (0, 0) if first is None else (first, last + 1)


def sample(key: Key, first_id: int, beyond_id: int, rows: int) -> Program[list[tuple[int, bytes]]]:
    """Some small states of the kind of ``key``: their key_ids and frames, in that order."""
    params: dict[str, SqlValue] = {
        "first_id": first_id,
        "beyond_id": beyond_id,
        "pipeline": key.pipeline,
        "stream": key.stream,
        "most_bytes": MAX_STATE_BYTES,
        "row_limit": rows,
    }
    found = yield Statement("dictionary.sample", params)
    yield from learn([frame for _, frame in found])
    return [(key_id, frame) for key_id, frame in found]


def of_kind(key: Key) -> Program[int | None]:
    """The dictionary that states of the kind of ``key`` are saved with."""
    kind = {"pipeline": key.pipeline, "stream": key.stream}
    rows = yield Statement("dictionary.of_kind", kind)
    return rows[0][0] if rows else None


def recompress(dictionary_id: int, states: Sequence[tuple[int, bytes]]) -> Program[int]:
    """Store those of the states that it makes smaller, unless they have changed; how many it did."""
    count = 0
    for key_id, frame in states:
        try:
            shorter = yield from shortened(frame, dictionary_id)
        except BelaypinError:
            continue  # a damaged state is left as it is, for verify() to name
        if len(shorter) < len(frame):
            params: dict[str, SqlValue] = {"key_id": key_id, "state": shorter, "was": frame}
            count += len((yield Statement("dictionary.recompress", params)))
    return count


def listed(after: int) -> Program[list[int]]:
    """The next dictionaries of the store, for `check`."""
    found = yield Statement("dictionary.list", {"after": after, "limit": _PAGE})
    return [row[0] for row in found]


def check(dictionary_id: int) -> Program[BelaypinError | None]:
    """What is wrong with a stored dictionary, read again whatever this process knows."""
    try:
        yield from _read(dictionary_id)
    except BelaypinError as error:
        return error
    return None


def _find(dictionary_id: int) -> Program[Dictionary | None]:
    found = known(dictionary_id)
    if found is None:
        try:
            found = yield from _read(dictionary_id)
        except BelaypinError:
            return None
        if found is not None:
            remember(found)
    return found


def _read(dictionary_id: int) -> Program[Dictionary | None]:
    rows = yield Statement("dictionary.read", {"dictionary_id": dictionary_id})
    if not rows:
        return None
    pipeline, stream, frame = rows[0]
    what = f"dictionary {dictionary_id}"
    try:
        content = decode_frame(frame, what=what, max_raw_bytes=MAX_DICTIONARY_BYTES).raw
        dictionary = Dictionary(pipeline, stream, content)
    except (AttributeError, TypeError, ValueError) as error:  # of another type, or no dictionary
        raise CorruptRecord(_damaged(what, f"{error}")) from error
    if dictionary.dictionary_id != dictionary_id:
        why = f"its content, or its kind, is that of dictionary {dictionary.dictionary_id}"
        raise CorruptRecord(_damaged(what, why))
    return dictionary


def _damaged(what: str, why: str) -> str:
    return f"{what} is damaged: {why}. It was not used. Restore its row from a backup."
