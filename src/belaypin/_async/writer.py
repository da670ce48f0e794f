"""The writer: loose states of many keys, saved in few commits."""

from __future__ import annotations

import asyncio  # sync: drop
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from belaypin._async.records import KeyLike
from belaypin.backends.base import WAITS_FOR_ITSELF, AsyncBackend
from belaypin.codec import dump_state, encode_frame
from belaypin.errors import StoreBusy, UsageError
from belaypin.keys import Key
from belaypin.records.writer_reports import LossBound, WriterReport
from belaypin.schema import Schema, version_of
from belaypin.writing.core import Entry, GroupCommit
from belaypin.writing.exits import drain_at_exit

__all__ = ["AsyncWriter"]

_LISTED_KEYS = 10


class AsyncWriter(AbstractAsyncContextManager["AsyncWriter"]):
    """Saves states in their order, many in one commit; made by ``store.writer()``.

    Use it in a ``with`` block, from any number of threads or tasks. What is stored for a key is
    what was saved last, and each save gets a version. Leaving the block, closing the store and the
    end of the process drain it.
    """

    def __init__(
        self,
        backend: AsyncBackend,
        *,
        is_durable_first: bool,
        max_items: int,
        history: int,
        max_delay_s: float,
        timeout_s: float,
        drain_on_sigterm: bool,
        closed: Callable[[AsyncWriter], None],
    ) -> None:
        self._backend = backend
        self._timeout_s = timeout_s
        bound = LossBound(0, 0.0) if is_durable_first else LossBound(max_items, max_delay_s)
        self._core = GroupCommit(
            backend.for_threads,
            bound,
            batch_items=max_items,
            history=history,
            gather_s=max_delay_s,
        )
        self._stay = drain_at_exit(self._core, timeout_s, on_sigterm=drain_on_sigterm)
        self._closed = closed

    @property
    def bound(self) -> LossBound:
        """What a crash can cost at most of the saves that have returned."""
        return self._core.bound

    @property
    def report(self) -> WriterReport:
        """What this writer has done so far."""
        return self._core.report()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        except Exception as second:
            if error is None:
                raise
            error.add_note(f"and the writer did not close well: {second}")

    def save(
        self, key: KeyLike, state: object, *, schema: Schema | None = None
    ) -> Awaitable[int | None]:
        """Save a state as it is now at any Key; what becomes of the object later changes nothing.

        With ``durability="sync"`` returns the state's version once it is durable. With "async"
        returns None, at once or when ``bound`` has room. ``state`` and ``schema`` are as in
        ``store.save``; so are SchemaTooNew and UsageError, for this state alone. StoreBusy if the
        database did not get to it in ``timeout_s``.
        """
        schema_version = version_of(schema)
        frame = encode_frame(dump_state(state), schema_version=schema_version)
        entry = Entry(Key.of(key), frame, schema_version)
        if not self.bound.items:
            self._refuse_inside_a_block()
        self._core.add(entry)
        return self._returned(entry)

    async def flush(self) -> WriterReport:
        """Wait until all that was saved so far is durable; returns the report.

        Raises the error of a state that was refused since the last time, with the others as its
        notes; StoreBusy or StoreUnavailable if the database does not get through in ``timeout_s``:
        then nothing is dropped, and the writer goes on trying.
        """
        self._refuse_inside_a_block()
        drained = await self._in_time(self._core.drain)
        return self._told(drained=drained, and_now="They are kept, and tried again.")

    async def aclose(self) -> WriterReport:
        """``flush``, and take nothing more. The ``with`` block does it.

        If the database can't be reached for ``timeout_s``, what could not be saved is named.
        """
        if self._core.is_over:
            return self.report
        self._refuse_inside_a_block()
        drained = await self._in_time(self._core.close)
        self._stay()
        self._closed(self)
        return self._told(drained=drained, and_now="They are lost unless you save them again.")

    async def _returned(self, entry: Entry) -> int | None:
        if entry.outcome.done():
            return entry.outcome.result()
        wait_s = self._timeout_s
        soon = asyncio.wrap_future(entry.outcome)  # sync: soon = entry.outcome
        try:
            return await asyncio.wait_for(soon, wait_s)  # sync: return soon.result(wait_s)
        except TimeoutError as late:
            error = self._late(entry)
            if entry.outcome.cancelled():
                raise error from (self._core.last_error or late)
            return entry.outcome.result()  # it came through at the last moment
        except BaseException:
            self._core.withdraw(entry)
            raise

    async def _in_time(self, call: Callable[[float], bool]) -> bool:
        wait_s = self._timeout_s
        return await asyncio.to_thread(call, wait_s)  # sync: return call(wait_s)

    def _late(self, entry: Entry) -> StoreBusy:
        what = "was not saved"
        if not self._core.withdraw(entry):
            what = "may be stored or not"
        return StoreBusy(
            f"The state of {entry.save.key} {what}: the writer did not get through within "
            f"{self._timeout_s:g} s ({self._core.last_error or 'too many states are in line'}). "
            f"Save it again, or save less at a time."
        )

    def _told(self, *, drained: bool, and_now: str) -> WriterReport:
        """The report, unless there is something worse to tell."""
        failures = self._core.take_failures()
        if not drained:
            keys = self._core.unsaved()
            cause = self._core.last_error
            some = ", ".join(map(str, keys[:_LISTED_KEYS]))
            raise (type(cause) if cause is not None else StoreBusy)(
                f"{len(keys)} states are not durable after {self._timeout_s:g} s ({cause}), those "
                f"of {some}{', ...' if len(keys) > _LISTED_KEYS else ''}. {and_now}"
            ) from cause
        if failures:
            (key, error), *others = failures
            error.add_note(f"raised for the state of {key}, after its save had returned")
            for other, why in others[:_LISTED_KEYS]:
                error.add_note(f"and for {other}: {why}")
            raise error
        return self.report

    def _refuse_inside_a_block(self) -> None:
        if self._backend.is_writing():
            raise UsageError(WAITS_FOR_ITSELF)
