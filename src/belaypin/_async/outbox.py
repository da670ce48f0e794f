"""The outbox: messages that were sent within transactions are delivered to a handler of the user's."""

from __future__ import annotations

import asyncio  # sync: from belaypin.clock import sleep_s
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, get_args

from belaypin._async.resolve import resolved
from belaypin.clock import jitter, monotonic_s, unique_id
from belaypin.codec import decode_frame, load_state
from belaypin.errors import BelaypinError, UsageError
from belaypin.fields import check_count, describe
from belaypin.heartbeat import Beat, Heartbeat
from belaypin.mishaps import Mishap
from belaypin.process import owner_name
from belaypin.program import Program
from belaypin.programs import outbox
from belaypin.programs.outbox import ClaimedRow, MessageRow
from belaypin.records.failure import Status
from belaypin.records.message import Delivery, Message
from belaypin.retry import Retry
from belaypin.times import Duration, duration_us, from_us

__all__ = ["AsyncOutbox"]

T = TypeVar("T")

Handler = Callable[[Message], Any]

_POLL_S = (0.05, 0.5)
_DROPPED_PER_STEP = 500
_MIN_TTL_US = 50_000


class AsyncOutbox(ABC):
    """Delivers what ``tx.send`` has enqueued: at least once, each message under a stable key."""

    _heartbeat: Heartbeat

    @property
    @abstractmethod
    def _actor(self) -> str:
        """Who acts, as the audit names them."""

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    async def deliver(
        self,
        topic: str,
        handler: Handler,
        *,
        max_messages: int | None = None,
        ttl_s: Duration = 30,
        wait_s: Duration = 0,
        retry: Retry | None = None,
    ) -> Delivery:
        """Call ``handler(message)`` for each message of ``topic`` that is due, oldest first.

        At least once: whoever dies between the handler's effect and the mark has it delivered
        again, with the same ``message.key``. Any number of workers may do this at once; a message
        is claimed before its handler runs, and the claim renewed while it does. One that outlives
        its worker ends after ``ttl_s``, by the database's clock.

        A message whose handler raises is tried again as ``retry`` says (default: ``Retry()``), and
        holds up no other; after the last attempt it is quarantined, see ``undelivered``. What
        ``retry`` does not cover is kept as well, and raised. Returns when nothing more is due and
        ``wait_s`` have passed without a message, or after ``max_messages``.
        """
        outbox.check_name(topic, "topic")
        check_count("max_messages", max_messages, at_least=0)
        ttl_us = duration_us(ttl_s, "ttl_s")
        if ttl_us < _MIN_TTL_US:
            raise UsageError("ttl_s must be at least 0.05: a heartbeat has to fit in three times.")
        delivering = _Delivering(self, topic, handler, ttl_us, retry or Retry())
        return await delivering.run(max_messages, duration_us(wait_s, "wait_s") / 1_000_000)

    async def undelivered(
        self,
        topic: str | None = None,
        *,
        status: Status | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[Message]:
        """Messages that wait or are quarantined, with the reason: ``message.error``.

        Of both, unless ``status`` names one. By their ids; go on with ``after`` the last one's. A
        payload that can't be read is None.
        """
        check_count("after", after, at_least=0)
        check_count("limit", limit, at_least=1)
        if topic is not None:
            outbox.check_name(topic, "topic")
        if status not in (None, *get_args(Status)):
            raise UsageError(f"status is waiting or quarantined, not {describe(status)}.")
        rows = await self._run(outbox.undelivered(topic, status, after, limit), write=False)
        return list(map(_listed, rows))

    async def redeliver(self, topic: str, key: str) -> bool:
        """Try a message again that is quarantined, or waits for its next attempt, from the start.

        False if there is none: it was delivered, dropped, or never sent. Noted in the audit.
        """
        outbox.check_name(topic, "topic")
        outbox.check_name(key, "key")
        return await self._run(outbox.redeliver(self._actor, topic, key))

    async def drop_delivered(self, *, older_than: Duration) -> int:
        """Drop messages that were delivered longer ago than ``older_than``; returns how many.

        From then on their keys are unknown: a message under such a key would be sent again. So keep
        them for longer than a source may repeat itself. It works in small transactions.
        """
        age_us = duration_us(older_than, "older_than")
        dropped, total = _DROPPED_PER_STEP, 0
        while dropped == _DROPPED_PER_STEP:
            dropped = await self._run(outbox.drop_delivered(age_us, _DROPPED_PER_STEP))
            total += dropped
        return total


class _Ending(NamedTuple):
    """How an attempt has ended; it is written together with the next claim."""

    outcome: str
    program: Program[bool]


class _Delivering:
    """One worker's run over a topic."""

    def __init__(
        self, store: AsyncOutbox, topic: str, handler: Handler, ttl_us: int, retry: Retry
    ) -> None:
        self._store = store
        self._topic = topic
        self._handler = handler
        self._ttl_us = ttl_us
        self._retry = retry
        self._owner = owner_name(unique_id())
        self._after = 0
        self._ending: _Ending | None = None
        self._beat: Beat | None = None
        self._counts = dict.fromkeys(Delivery.__struct_fields__, 0)

    async def run(self, max_messages: int | None, wait_s: float) -> Delivery:
        left = math.inf if max_messages is None else max_messages
        until_s = monotonic_s() + wait_s
        try:
            while True:
                row = await self._turn(claims=left > 0)
                if row is not None:
                    left -= 1
                    await self._handle(row)
                    until_s = monotonic_s() + wait_s
                    continue
                left_s = until_s - monotonic_s()
                if left <= 0 or left_s <= 0:
                    return Delivery(**self._counts)
                pause_s = min(jitter(*_POLL_S), left_s)
                await asyncio.sleep(pause_s)  # sync: sleep_s(pause_s)
        finally:
            self._stop_renewing()

    async def _turn(self, *, claims: bool) -> ClaimedRow | None:
        """Write how the last attempt has ended, and claim the next message, in order."""
        ending, self._ending = self._ending, None
        program = None if ending is None else ending.program
        after = self._after if claims else None
        is_ours, found = await self._store._run(
            outbox.turn(program, self._topic, self._owner, self._ttl_us, after)
        )
        self._stop_renewing()
        if ending is not None:
            self._counts[ending.outcome if is_ours else "taken_over"] += 1
        self._after = found.claim.message_id if found is not None else 0
        return found

    async def _handle(self, row: ClaimedRow) -> None:
        """Have one attempt at a message. Raises what is not the message's own failure."""
        self._beat = self._store._heartbeat.add(
            lambda: outbox.renew(row.claim), lambda: None, self._ttl_us / 1_000_000
        )
        message = self._message(row)
        if message is None:
            return
        try:
            await resolved(self._handler(message))
        except Exception as error:
            self._failed(row, Mishap.of(error).error, self._delay_us(row, error))
            if not self._retry.covers(error):
                await self._turn(claims=False)
                raise
        except BaseException as stop:  # to be cancelled or interrupted is no failure of the message
            await self._give_back(row, stop)
            raise
        else:
            self._ending = _Ending("delivered", outbox.delivered(row.claim))

    def _message(self, row: ClaimedRow) -> Message | None:
        """What to hand to the handler; None for what has failed without it."""
        if row.attempt > 1 and self._retry.delay_us(row.attempt - 1, 0.5) is None:
            error = (
                f"{row.attempt - 1} attempts were begun, which is all there may be: in the last "
                f"one the worker died or stood still, or more were allowed then."
            )
            self._failed(row, error, None)
            return None
        try:
            return _message(row, self._topic)
        except BelaypinError as damage:
            self._failed(row, Mishap.of(damage).error, None)
            return None

    def _delay_us(self, row: ClaimedRow, error: Exception) -> int | None:
        if self._retry.gives_up(error):
            return None
        return self._retry.delay_us(row.attempt, jitter(0, 1))

    def _failed(self, row: ClaimedRow, error: str, delay_us: int | None) -> None:
        outcome = "quarantined" if delay_us is None else "failed"
        self._ending = _Ending(outcome, outbox.failed(row.claim, error, delay_us))

    async def _give_back(self, row: ClaimedRow, stop: BaseException) -> None:
        try:
            await self._store._run(outbox.give_back(row.claim))
        except BelaypinError as second:
            # Then it is free when its time is up. What stopped the work goes first.
            stop.add_note(f"and the message {row.key!r} could not be given back: {second}")

    def _stop_renewing(self) -> None:
        beat, self._beat = self._beat, None
        if beat is not None:
            self._store._heartbeat.remove(beat)


def _message(row: ClaimedRow, topic: str) -> Message:
    payload = _payload(row.payload, topic, row.key)
    message_id, created_at = row.claim.message_id, from_us(row.created_us)
    return Message(message_id, topic, row.key, payload, row.attempt, created_at)


def _listed(row: MessageRow) -> Message:
    try:
        payload = _payload(row.payload, row.topic, row.key)
    except BelaypinError:
        payload = None  # the list is where one looks for what is wrong; verify() says what it is
    return Message(
        row.message_id,
        row.topic,
        row.key,
        payload,
        row.attempts,
        from_us(row.created_us),
        row.status,
        row.error,
        from_us(row.next_try_us),
    )


def _payload(framed: bytes, topic: str, key: str) -> Any:
    frame = decode_frame(framed, what=f"the payload of message {key!r} to {topic!r}")
    return load_state(frame.raw, object)
