"""Suspects: finding the item that kills its worker, by what the dead had in hand.

A process that is killed can't say which item it was at. But its lease tells that it died, as it
was never released, and the next worker is careful: before it hands out a page it writes down that
it does. If such pages go on killing, their items are handed out one by one, each under its name;
and the item that has killed often enough is quarantined. Without deaths nothing is ever written.
"""

from __future__ import annotations

from typing import Any

import msgspec

from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import checkpoints, failures, leases, pages
from belaypin.programs.failures import Failures
from belaypin.programs.leases import Fence
from belaypin.programs.pages import Stream
from belaypin.retry import Retry

__all__ = ["Watch", "begin", "calm", "clear", "give_up", "mark"]

CAREFUL_PAGES = 64
"""After so many pages that did not kill, a follower of the dead stops writing down each one."""

Kills = dict[str, tuple[int, str | None]]
_KILLS: msgspec.json.Decoder[Kills] = msgspec.json.Decoder(Kills)


class Watch:
    """What is known of the deaths at one stream's next page, by its present worker."""

    def __init__(self, key_id: int, role: str, retry: Retry, deaths: int, kills: Kills) -> None:
        self.is_active = True
        """Whether what is handed out is still written down."""
        self._key_id = key_id
        self._role = role
        self._retry = retry
        self._deaths = deaths  # of workers that were handed this page, before us
        self._kills = kills
        self._in_hand: set[str] = set()
        self._is_marked = False
        self._has_moved = False
        self._pages = 0

    @property
    def isolates(self) -> bool:
        """Whether the next page is to be handed out item by item.

        One death more than was written down: that of the first one, which was not careful yet.
        """
        after = self._retry.isolate_after
        if after is None or not self.is_active:
            return False
        return self._deaths + 1 >= after or bool(self._kills)

    @property
    def needs_mark(self) -> bool:
        """Whether it has to be written down that the next page is handed out."""
        return self.is_active and not self._is_marked

    def is_unnamed(self, item_id: str) -> bool:
        """Whether a single item is in hand that is not known by its id yet."""
        return bool(self._in_hand) and item_id not in self._in_hand

    def is_killer(self, name: str) -> bool:
        """Whether an item has killed often enough."""
        return self.kills_of(name) >= self._retry.max_kills

    def kills_of(self, name: str) -> int:
        """How many workers died with nothing else in hand."""
        return self._kills.get(name, (0, None))[0]

    def id_of(self, name: str) -> str | None:
        """The id that one of those workers read of an item that is known by its JSON."""
        return self._kills.get(name, (0, None))[1]

    def take(self, name: str) -> None:
        """An item is about to be handed out alone."""
        self._in_hand = {name}
        self._kills[name] = (self.kills_of(name) + 1, self.id_of(name))

    def name(self, item_id: str) -> None:
        """The id of the item in hand was read."""
        for name in self._in_hand:
            self._kills[name] = (self.kills_of(name), item_id)
        self._kills[item_id] = (self.kills_of(item_id) + 1, None)
        self._in_hand.add(item_id)

    def let_go(self) -> None:
        """The item in hand has not killed us."""
        if self._in_hand:
            self._is_marked = False  # what was written down accuses it
        self.forget(*self._in_hand)
        self._in_hand = set()

    def forget(self, *names: str) -> None:
        """These items are no suspects any more, by whatever name."""
        self._kills = {
            name: (kills, item_id)
            for name, (kills, item_id) in self._kills.items()
            if name not in names and item_id not in names
        }

    def moved(self) -> None:
        """A commit came through, with what ``calmed`` wrote."""
        self._deaths = 0
        self.is_active = self._pages < CAREFUL_PAGES
        self.let_go()
        self._is_marked = self._has_moved = True

    def page_passed(self) -> None:
        """A page, whole or item by item, was handed out and did not kill.

        Only a commit is progress: where nothing was new, the dead may have stood further on.
        """
        self._pages += self._has_moved
        self._has_moved = False

    def marked(self) -> Statement:
        """Write down what is in hand now."""
        self._is_marked = True
        return self._save(self._deaths + 1, self._kills)

    def calmed(self) -> Statement:
        """Write, in the transaction of a commit, that we got so far: the next page is in hand."""
        if self._pages >= CAREFUL_PAGES:
            return Statement("suspect.delete", {"key_id": self._key_id, "role": self._role})
        hand = self._in_hand
        kept = {n: known for n, known in self._kills.items() if not hand & {n, known[1]}}
        return self._save(1, kept)

    def _save(self, deaths: int, kills: Kills) -> Statement:
        return Statement(
            "suspect.save",
            {
                "key_id": self._key_id,
                "role": self._role,
                "deaths": deaths,
                "kills": msgspec.json.encode(kills).decode(),
            },
        )


def begin(fence: Fence, key: Key, retry: Retry) -> Program[Watch]:
    """What those who died before us at the stream have written down."""
    yield from leases.check(fence)
    key_id = yield from checkpoints.ensure(key)
    rows = yield Statement("suspect.read", {"key_id": key_id, "role": fence.role})
    deaths, kills = rows[0] if rows else (0, "{}")
    return Watch(key_id, fence.role, retry, deaths, _KILLS.decode(kills))


def mark(fence: Fence, watch: Watch) -> Program[None]:
    """Write down what is about to be handed out, in a transaction of its own."""
    yield from leases.check(fence)
    yield watch.marked()


def calm(watch: Watch) -> Program[None]:
    """Write, as a part of a commit, that it has come through."""
    yield watch.calmed()


def give_up(
    fence: Fence, stream: Stream, watch: Watch, name: str, item: Any, changes: Failures
) -> Program[None]:
    """Quarantine an item that has killed its workers; it is known by ``name`` or by its id."""
    known = watch.id_of(name) or name
    row = yield from pages.begin(fence, stream)
    for standing in (yield from failures.among(row.key_id, row.generation, [known])):
        changes.standing[known] = standing
    changes.add_killer(known, watch.kills_of(name), item, row.now_us)
    entries: dict[ItemId, bytes | None] = {}
    yield from failures.save(row.key_id, row.generation, fence.token, changes, entries)
    watch.forget(name, known)
    yield watch.marked()


def clear(fence: Fence) -> Program[None]:
    """The worker leaves in order: nothing that it had in hand has killed it."""
    yield Statement(
        "suspect.clear",
        {"role": fence.role, "pipeline": fence.key.pipeline, "entity": fence.key.entity},
    )
