"""Dictionaries: what small states of one kind have in common, trained from some of them.

A state of a few hundred bytes hardly compresses by itself: what makes it compressible stands in the
other states. A dictionary is named by its own content, so nothing that a process knows of one can
ever be out of date, and one store's can't be taken for another's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from belaypin.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "MAX_DICTIONARY_BYTES",
    "MAX_STATE_BYTES",
    "Dictionary",
    "DictionaryReport",
    "known",
    "remember",
    "train",
]

MAX_DICTIONARY_BYTES = 32_768
"""A larger one hardly gains: on profiles of 480 bytes, 2 % from 16 KiB to 32, and 2 % to 64."""

MAX_STATE_BYTES = 16_384
"""Larger states are compressed without a dictionary: they have enough in common with themselves."""

_MIN_DICTIONARY_BYTES = 1_024
_SAMPLES_PER_DICTIONARY = 8  # bytes of samples for each byte of a dictionary
_MIN_SAMPLES = 16
_MAX_KNOWN = 1_024  # far more than the states that are read at once can need; some 60 MB


class Dictionary:
    """A dictionary for the states at ``stream`` of every entity of ``pipeline``."""

    __slots__ = ("content", "dictionary_id", "prepared")

    def __init__(self, pipeline: str, stream: str, content: bytes) -> None:
        self.content = content
        self.dictionary_id = _digest(pipeline, stream, content)
        """63 bits of a digest of the kind and the content; it names the dictionary in frames."""
        self.prepared = zstd.ZstdDict(content)


class DictionaryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a trained dictionary does for the states of its kind, measured on states it has not seen.

    Of ``states`` sampled, a fifth was kept back to ``measure``: these take ``bytes_before`` as they
    are stored without a dictionary, and ``bytes_after`` with it. ``dictionary_id`` is None if it
    was not stored: in a dry run, or because it would gain less than a twentieth.

    >>> report = DictionaryReport(dry_run=True, states=10, measured=2, bytes_before=800,
    ...                           bytes_after=400, dictionary_bytes=1024, dictionary_id=None)
    >>> report.ratio
    2.0
    """

    dry_run: bool
    states: int
    measured: int
    bytes_before: int
    bytes_after: int
    dictionary_bytes: int
    dictionary_id: int | None

    @property
    def ratio(self) -> float:
        """How many times smaller the measured states become."""
        return self.bytes_before / self.bytes_after

    @property
    def is_worth_it(self) -> bool:
        """Whether the states lose a twentieth of their bytes, or more."""
        return self.bytes_after * 20 <= self.bytes_before * 19

    def __str__(self) -> str:
        """Return one line."""
        stored = "stored" if self.dictionary_id is not None else "not stored"
        if not self.is_worth_it:
            stored += ", as it gains too little"
        return (
            f"{self.measured} of {self.states} states, kept back: {self.bytes_before} bytes "
            f"without and {self.bytes_after} with a dictionary of {self.dictionary_bytes} bytes, "
            f"{self.ratio:.2f} times smaller; {stored}"
        )


def train(samples: Sequence[bytes]) -> bytes:
    """Return the content of a dictionary for records like these.

    Raises `UsageError` if they are too few, or have too little in common.
    """
    total = sum(map(len, samples))
    size = min(max(total // _SAMPLES_PER_DICTIONARY, _MIN_DICTIONARY_BYTES), MAX_DICTIONARY_BYTES)
    why = f"they are fewer than {_MIN_SAMPLES}"
    if len(samples) >= _MIN_SAMPLES:
        try:
            # It comes with its entropy tables: to finalize it again gains nothing (measured).
            return zstd.train_dict(samples, size).dict_content
        except (zstd.ZstdError, ValueError) as error:
            why = f"{error}"
    raise UsageError(
        f"{len(samples)} states of {total} bytes in all are not enough to train a dictionary from: "
        f"{why}. Nothing was changed. Train it once there are some hundreds."
    )


_known: dict[int, Dictionary] = {}


def known(dictionary_id: int) -> Dictionary | None:
    """The dictionary of that name, if this process has read it."""
    return _known.get(dictionary_id)


def remember(dictionary: Dictionary) -> None:
    """Keep it for this process; beyond a thousand, the one that was read first is given up."""
    while len(_known) >= _MAX_KNOWN:
        _known.pop(next(iter(_known)), None)
    _known[dictionary.dictionary_id] = dictionary


def _digest(pipeline: str, stream: str, content: bytes) -> int:
    digest = blake2b(digest_size=8, usedforsecurity=False)
    for part in (pipeline.encode(), stream.encode(), content):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return int.from_bytes(digest.digest()) >> 1
