"""Schemas: which version of its shape a state has, and how an older one becomes the newest.

A state is upcast in memory when it is read, and stored in its new shape by the next write. Newer
data is refused, never read as old and never overwritten: old and new code may share a store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from belaypin.codec import decode_frame, dump_state, load_state
from belaypin.errors import CorruptRecord, SchemaTooNew, UsageError
from belaypin.fields import describe

__all__ = [
    "KEPT_VERSIONS",
    "MAX_VERSION",
    "Schema",
    "read_as_stored",
    "read_raw",
    "read_state",
    "too_new",
    "version_of",
]

KEPT_VERSIONS = 10
"""How many states that were replaced are kept of each Key, unless the store is opened otherwise."""

MAX_VERSION = 2**32 - 1
"""What a frame has room for."""

Upcast = Callable[[Any], Any]


class Schema(msgspec.Struct, frozen=True):
    """The shape of a state: its version, and ``upcasts[n]``, which turns data of n into n + 1.

    An upcast takes and returns JSON data (dict, list, str, int, float, bool, None). It must be
    pure: the same data gives the same result, and nothing else happens. Version 0 is what was
    saved without a schema. Raises `UsageError` for a version below 1, or upcasts with a gap.

    >>> schema = Schema(2, {1: lambda data: {"pages": data["page"] + 1}})
    >>> schema.upcast({"page": 3}, 1, what="the state of p / e")
    {'pages': 4}
    """

    version: int
    upcasts: Mapping[int, Upcast] = {}

    def __post_init__(self) -> None:
        """Refuse upcasts that leave a version out, and keep a copy of them."""
        if type(self.version) is not int or not 1 <= self.version <= MAX_VERSION:
            raise UsageError(
                f"a schema's version is a number from 1 to 2^32 - 1, not {describe(self.version)}: "
                f"0 is what was saved without a schema."
            )
        _check_upcasts(self.version, self.upcasts)
        msgspec.structs.force_setattr(self, "upcasts", MappingProxyType(dict(self.upcasts)))

    @property
    def oldest(self) -> int:
        """The oldest version that can still be read."""
        return min(self.upcasts, default=self.version)

    def upcast(self, data: Any, version: int, *, what: str) -> Any:
        """Return JSON data of ``version`` in the shape of this schema; ``what`` is for errors.

        Raises `SchemaTooNew` for a newer version, `UsageError` for one that is too old, or if an
        upcast fails.
        """
        if version > self.version:
            raise too_new(what, version, self.version)
        if version < self.oldest:
            raise UsageError(
                f"{what} has schema version {version}, and this code upcasts from {self.oldest} "
                f"on. It was not changed. Add upcasts[{version}] to the Schema."
            )
        for step in range(version, self.version):
            data = self._step(step, data, what)
        return data

    def _step(self, step: int, data: Any, what: str) -> Any:
        try:
            # Through JSON: the next step sees what would have been stored, and the blame is clear.
            return msgspec.json.decode(dump_state(self.upcasts[step](data)))
        except Exception as error:
            raise UsageError(
                f"{what} could not be upcast from schema version {step} to {step + 1}: "
                f"{type(error).__name__}: {error}. It was not changed. Make upcasts[{step}] return "
                f"JSON data for every state that version {step} has saved."
            ) from error


def version_of(schema: Schema | None) -> int:
    """The version that a state is stored under; 0 without a schema."""
    if schema is not None and not isinstance(schema, Schema):
        raise UsageError(f"schema must be a belaypin.Schema, not {describe(schema)}.")
    return 0 if schema is None else schema.version


def read_as_stored(frame: bytes, stored_version: int, *, what: str) -> bytes:
    """Return a stored state as JSON text, in the shape that it was saved in."""
    raw, version = decode_frame(frame, what=what)
    if version != stored_version:
        raise CorruptRecord(
            f"{what} is damaged: its row says schema version {stored_version}, the record itself "
            f"{version}. It was neither decoded nor changed. Restore it from a backup."
        )
    return raw


def read_raw(frame: bytes, stored_version: int, schema: Schema | None, *, what: str) -> bytes:
    """Return a stored state as JSON text in the shape of ``schema``.

    ``stored_version`` is what its row says: if the frame says another, the record is damaged.
    """
    known = version_of(schema)
    raw, version = read_as_stored(frame, stored_version, what=what), stored_version
    if version > known:
        raise too_new(what, version, known)
    if schema is None or version == known:
        return raw
    return dump_state(schema.upcast(msgspec.json.decode(raw), version, what=what))


def read_state(
    frame: bytes, stored_version: int, type_: Any, schema: Schema | None, *, what: str
) -> Any:
    """Return a stored state as ``type_``, upcast in memory if it is older than ``schema``."""
    raw = read_raw(frame, stored_version, schema, what=what)
    try:
        return load_state(raw, type_)
    except UsageError as error:
        versions = f"stored with schema version {stored_version}, read with {version_of(schema)}"
        raise UsageError(f"{what} ({versions}): {error}") from error.__cause__


def too_new(what: str, version: int, known: int) -> SchemaTooNew:
    """The error for data that newer code has written."""
    knows = f"knows versions up to {known}" if known else "gave no schema"
    return SchemaTooNew(
        f"{what} has schema version {version}, and this code {knows}. It was neither read nor "
        f"changed. Run the newer code here, or pass its schema=Schema({version}, ...)."
    )


def _check_upcasts(version: int, upcasts: object) -> None:
    if not isinstance(upcasts, Mapping):
        raise UsageError(f"upcasts must map versions to functions, not {describe(upcasts)}.")
    for step, upcast in upcasts.items():
        if type(step) is not int or not 0 <= step < version:
            raise UsageError(
                f"upcasts[{describe(step)}] has no place in a schema of version {version}: "
                f"upcasts[n] turns data of version n into n + 1, so n is 0 to {version - 1}."
            )
        if not callable(upcast):
            raise UsageError(f"upcasts[{step}] is {describe(upcast)}: make it a function.")
    missing = sorted({*range(min(upcasts, default=version), version)} - {*upcasts})
    if missing:
        raise UsageError(
            f"The upcasts to version {version} leave out {', '.join(map(str, missing))}: data of "
            f"an older version would have no way past it. Add upcasts[{missing[0]}]."
        )
