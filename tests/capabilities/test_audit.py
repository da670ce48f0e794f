"""The audit: acts are noted in their transaction, read newest first, by Key."""

from __future__ import annotations

import os
from typing import Any

import pytest

from belaypin import Key, UsageError
from belaypin.programs import audit
from tests.capabilities.sites import Awaited, FixedClock, Site


async def note(store: Any, action: str, key: Key | None) -> None:
    """As what acts does it: in a transaction of the store."""
    await store._run(audit.note("somebody", action, key, {"why": action}))


@pytest.mark.parametrize("text", ["plain", "ünï", "'; DROP TABLE belaypin_audit; --"])
async def test_what_was_noted_is_read(site: Site, text: str) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await note(store, text, Key("shop", text, text))
    (entry,) = await store.audit()
    assert (entry.actor, entry.action, entry.detail) == ("somebody", text, {"why": text})
    assert entry.key == Key("shop", text, text)
    assert entry.at.timestamp() == clock.us / 1_000_000
    assert text in str(entry)


async def test_newest_first_at_a_key_and_beneath_it_page_by_page(site: Site) -> None:
    store = await site.open()
    keys = [None, Key("shop"), Key("shop", "a"), Key("shop", "a", "posts"), Key("shop", "ab")]
    for number, key in enumerate(keys):
        await note(store, str(number), key)
    assert [e.action for e in await store.audit()] == ["4", "3", "2", "1", "0"]
    assert [e.action for e in await store.audit("shop")] == ["4", "3", "2", "1"]
    assert [e.action for e in await store.audit(("shop", "a"))] == ["3", "2"]
    assert [e.action for e in await store.audit(("shop", "a", "posts"))] == ["3"]
    first = await store.audit(limit=2)
    assert [e.action for e in await store.audit(limit=2, before=first[-1].number)] == ["2", "1"]
    with pytest.raises(UsageError):
        await store.audit(limit=0)


async def test_acts_of_one_actor_are_found_by_a_part_of_the_name(site: Site) -> None:
    store = await site.open()
    for actor in ("db-1/pid-47/x", "DB-2/pid-4711/x", "50%_!/pid-9"):
        await store._run(audit.note(actor, "skip", Key("shop", actor[:4]), {}))
    for actor, found in (
        ("db-", 2),
        ("pid-47/", 1),
        ("PID-4711", 1),
        ("50%_!", 1),
        ("_", 1),
        ("", 3),
    ):
        assert len(await store.audit(actor=actor)) == found, actor
    assert await store.audit(("shop", "db-1"), actor="db-2") == []
    (newest,) = await store.audit(actor="db-", limit=1)
    assert newest.actor == "DB-2/pid-4711/x"
    (before,) = await store.audit(actor="db-", before=newest.number)
    assert before.actor == "db-1/pid-47/x"
    with pytest.raises(UsageError):
        await store.audit(actor=7)


async def test_what_was_undone_is_not_noted(site: Site) -> None:
    store = await site.open()

    def fails() -> Any:
        yield from audit.note("somebody", "rewind", None, {})
        raise RuntimeError("undo")

    with pytest.raises(RuntimeError):
        await store._run(fails())
    assert await store.audit() == []


async def test_the_actor_is_this_process(site: Site) -> None:
    store = await site.open()
    actor = (store._thing if isinstance(store, Awaited) else store)._actor
    assert f"pid-{os.getpid()}" in actor
    assert not actor.endswith("/")
