"""Trained dictionaries: small states of one kind share what they have in common."""

from __future__ import annotations

import asyncio  # sync: drop
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from belaypin.codec import decode_frame, encode_frame
from belaypin.errors import BelaypinError, UsageError
from belaypin.fields import check_count
from belaypin.keys import Key
from belaypin.program import Program
from belaypin.programs import audit, dictionaries

if TYPE_CHECKING:
    from belaypin.dictionaries import Dictionary, DictionaryReport

__all__ = ["AsyncDictionaries"]

T = TypeVar("T")

_STRETCHES = 16
_STATES_PER_STEP = 100
_KEPT_BACK = 5  # one in so many states is not trained from, but measured


class AsyncDictionaries(ABC):
    """How small states are made smaller."""

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    @property
    @abstractmethod
    def _actor(self) -> str:
        """Who acts, as the audit names them."""

    async def train_dictionary(
        self,
        pipeline: str,
        stream: str | None = None,
        *,
        sample: int = 1000,
        dry_run: bool = False,
    ) -> DictionaryReport:
        """Learn what small states of one kind have in common; from then on it is left out of them.

        A kind is what the entities of ``pipeline`` have at ``stream``, or themselves (None). Each
        state of up to 16 KiB of the kind that is saved from now on is compressed by the
        dictionary; those that exist stay as they are until their next save. It may run beside live
        workers. ``sample``: states to look at, from all over the kind. With ``dry_run`` it is only
        told what would be gained.

        Raises UsageError if there are too few states to learn from.
        """
        check_count("sample", sample, at_least=1)
        kind = _kind(pipeline, stream)
        states = await self._sample(kind, sample)
        train = partial(_trained, kind, states, dry_run=dry_run)
        dictionary, report = await asyncio.to_thread(train)  # sync: dictionary, report = train()
        if report.dictionary_id is not None:
            await self._run(_add(self._actor, dictionary, kind, report))
        return report

    async def recompress_states(self, pipeline: str, stream: str | None = None) -> int:
        """Make the small states of one kind smaller now, by its newest dictionary; returns how many.

        It may run beside live workers, and be stopped anywhere: run it again to go on. Versions and
        times stay as they are. Raises UsageError if no dictionary was trained for the kind.
        """
        kind = _kind(pipeline, stream)
        dictionary_id = await self._run(dictionaries.of_kind(kind), write=False)
        if dictionary_id is None:
            raise UsageError(
                f"No dictionary was trained for states like {kind}: train_dictionary() first."
            )
        count = 0
        first_id, beyond_id = await self._run(dictionaries.span(), write=False)
        reading = dictionaries.sample(kind, first_id, beyond_id, _STATES_PER_STEP)
        while states := await self._run(reading, write=False):
            count += await self._run(dictionaries.recompress(dictionary_id, states))
            reading = dictionaries.sample(kind, states[-1][0] + 1, beyond_id, _STATES_PER_STEP)
        return count

    async def _sample(self, kind: Key, count: int) -> list[bytes]:
        """States from every stretch of the store's keys, some from each until there are enough."""
        first_id, beyond_id = await self._run(dictionaries.span(), write=False)
        width = max(1, -(-(beyond_id - first_id) // _STRETCHES))
        stretches = [
            (start, min(start + width, beyond_id)) for start in range(first_id, beyond_id, width)
        ]
        states: list[bytes] = []
        while stretches and len(states) < count:
            rows = -(-(count - len(states)) // len(stretches))
            left = []
            for start, end in stretches:
                sampling = dictionaries.sample(kind, start, end, rows)
                found = await self._run(sampling, write=False)
                states += [raw for _, frame in found if (raw := _raw(frame)) is not None]
                if len(found) == rows:
                    left.append((found[-1][0] + 1, end))
            stretches = left
        return states[:count]


def _kind(pipeline: str, stream: str | None) -> Key:
    """A Key that stands for all of its kind."""
    return Key.of((pipeline, "...") if stream is None else (pipeline, "...", stream))


def _raw(frame: bytes) -> bytes | None:
    try:
        return decode_frame(frame, what="a state").raw
    except BelaypinError:
        return None  # a damaged state is no sample; verify() names it


def _trained(
    kind: Key, states: list[bytes], *, dry_run: bool
) -> tuple[Dictionary, DictionaryReport]:
    from belaypin.dictionaries import MAX_STATE_BYTES, Dictionary, DictionaryReport, train

    small = [raw for raw in states if len(raw) <= MAX_STATE_BYTES]
    measured = small[::_KEPT_BACK]
    content = train([raw for n, raw in enumerate(small) if n % _KEPT_BACK])
    dictionary = Dictionary(kind.pipeline, kind.stream, content)
    report = DictionaryReport(
        dry_run=dry_run,
        states=len(small),
        measured=len(measured),
        bytes_before=sum(len(encode_frame(raw)) for raw in measured),
        bytes_after=sum(len(encode_frame(raw, dictionary=dictionary)) for raw in measured),
        dictionary_bytes=len(content),
        dictionary_id=None,
    )
    if report.is_worth_it and not dry_run:
        report = structs.replace(report, dictionary_id=dictionary.dictionary_id)
    return dictionary, report


def _add(actor: str, dictionary: Dictionary, kind: Key, report: DictionaryReport) -> Program[None]:
    yield from dictionaries.add(dictionary, kind, report.states)
    detail = {
        "stream": kind.stream,
        "dictionary_id": str(dictionary.dictionary_id),
        "bytes": report.dictionary_bytes,
        "ratio": round(report.ratio, 3),
    }
    yield from audit.note(actor, "train_dictionary", Key(kind.pipeline), detail)
