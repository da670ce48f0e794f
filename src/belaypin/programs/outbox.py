"""The outbox: a message is written with the rows that it tells of, and claimed to be delivered."""

from __future__ import annotations

from typing import Literal, NamedTuple

from belaypin.codec import dump_state, encode_frame
from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.ids import check_new_ids
from belaypin.program import Program, Statement
from belaypin.programs import audit

__all__ = [
    "ClaimedRow",
    "MessageClaim",
    "MessageRow",
    "StoredRow",
    "check_name",
    "claim",
    "delivered",
    "drop_delivered",
    "failed",
    "give_back",
    "page",
    "redeliver",
    "renew",
    "send",
    "turn",
    "undelivered",
]

_PAGE_MESSAGES = 50


class MessageClaim(NamedTuple):
    """A message that is ours to handle."""

    message_id: int
    owner: str
    token: int

    def params(self) -> dict[str, str | int]:
        return self._asdict()


class ClaimedRow(NamedTuple):
    """A message that was just claimed; the payload is framed."""

    claim: MessageClaim
    key: str
    payload: bytes
    attempt: int
    created_us: int


class MessageRow(NamedTuple):
    """A message as it is stored; the payload is framed."""

    message_id: int
    topic: str
    key: str
    payload: bytes
    attempts: int
    status: Literal["waiting", "quarantined"]
    error: str | None
    created_us: int
    next_try_us: int


class StoredRow(NamedTuple):
    """A message as ``verify`` reads it; the payload is framed."""

    message_id: int
    topic: str
    key: str
    payload: bytes
    attempts: int
    status: str
    delivered_us: int | None


def send(topic: str, payload: object, key: str) -> Program[bool]:
    """Write a message, unless one of this key is there. Raises UsageError before anything runs."""
    check_name(topic, "topic")
    check_name(key, "key")
    return _send(topic, key, encode_frame(dump_state(payload)))


def _send(topic: str, key: str, payload: bytes) -> Program[bool]:
    rows = yield Statement("outbox.send", {"topic": topic, "message_key": key, "payload": payload})
    return bool(rows)


def turn(
    ending: Program[bool] | None, topic: str, owner: str, ttl_us: int, after: int | None
) -> Program[tuple[bool, ClaimedRow | None]]:
    """End one message and claim the next: one COMMIT for both.

    ``ending`` is `delivered`, `failed` or `give_back`; the first value returned is what it says.
    Without ``after`` nothing is claimed. Behind the last message it begins at the front again.
    """
    is_ours = (yield from ending) if ending is not None else False
    found = None
    if after is not None:
        found = yield from claim(topic, owner, ttl_us, after)
        if found is None and after:
            found = yield from claim(topic, owner, ttl_us, 0)
    return is_ours, found


def claim(topic: str, owner: str, ttl_us: int, after: int) -> Program[ClaimedRow | None]:
    """Claim the first message behind ``after`` that is due. Workers who ask at once get one each."""
    rows = yield Statement(
        "outbox.claim", {"topic": topic, "owner": owner, "ttl_us": ttl_us, "after": after}
    )
    if not rows:
        return None
    message_id, key, payload, attempt, token, created_us = rows[0]
    return ClaimedRow(MessageClaim(message_id, owner, token), key, payload, attempt, created_us)


def renew(mine: MessageClaim) -> Program[bool]:
    """Extend the claim by its lifetime; False if it is no longer ours."""
    rows = yield Statement("outbox.renew", mine.params())
    return bool(rows)


def delivered(mine: MessageClaim) -> Program[bool]:
    """Mark the message as delivered; False if it was taken over."""
    rows = yield Statement("outbox.delivered", mine.params())
    return bool(rows)


def failed(mine: MessageClaim, error: str, delay_us: int | None) -> Program[bool]:
    """Let the message be tried again after ``delay_us``, or quarantine it; False: taken over."""
    status = "quarantined" if delay_us is None else "waiting"
    rows = yield Statement(
        "outbox.failed",
        {**mine.params(), "error": error, "status": status, "delay_us": delay_us or 0},
    )
    return bool(rows)


def give_back(mine: MessageClaim) -> Program[bool]:
    """End the claim as if it had never been made; False if it was taken over."""
    rows = yield Statement("outbox.give_back", mine.params())
    return bool(rows)


def undelivered(
    topic: str | None, status: str | None, after: int, limit: int
) -> Program[list[MessageRow]]:
    """The first messages behind ``after`` that wait or are quarantined, by their ids."""
    page: dict[str, str | int] = {"after": after, "limit": limit, "status": status or ""}
    if topic is None:
        rows = yield Statement("outbox.undelivered", page)
    else:
        rows = yield Statement("outbox.undelivered_of", {**page, "topic": topic})
    return [MessageRow(*row) for row in rows]


def page(after: int) -> Program[list[StoredRow]]:
    """The first messages behind ``after``, delivered ones as well."""
    rows = yield Statement("outbox.page", {"after": after, "limit": _PAGE_MESSAGES})
    return [StoredRow(*row) for row in rows]


def redeliver(actor: str, topic: str, key: str) -> Program[bool]:
    """Make a message due at once, its attempts forgotten; False if it waits nowhere."""
    rows = yield Statement("outbox.redeliver", {"topic": topic, "message_key": key})
    if rows:
        yield from audit.note(actor, "redeliver", None, {"topic": topic, "key": key})
    return bool(rows)


def drop_delivered(age_us: int, limit: int) -> Program[int]:
    """Drop up to ``limit`` messages that were delivered longer ago than that. How many."""
    rows = yield Statement("outbox.drop", {"age_us": age_us, "limit": limit})
    return len(rows)


def check_name(name: object, what: str) -> None:
    """Refuse a topic or key that is none. Raises UsageError."""
    if not isinstance(name, str):
        raise UsageError(f"A message's {what} is a text, not {describe(name)}.")
    try:
        check_new_ids([name])
    except UsageError as error:
        raise UsageError(f"The {what} {describe(name)} won't do: {error}") from error
