"""What the workers of the interleaving tests do to each other. Each makes one stage after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import Any

import belaypin
from belaypin._sync.lease import Lease
from belaypin._sync.store import Store
from belaypin.programs import leases
from belaypin.testing.explorer import Player, Stage
from tests.crash.world import PIPELINE, TTL_S, Item, Theatre, World

__all__ = ["SCENARIOS", "Scenario"]

Scenario = Callable[[Theatre], Stage]
SCENARIOS: dict[str, Scenario] = {}
OP_TTL_S = 60


def _scenario(make: Scenario) -> Scenario:
    SCENARIOS[make.__name__] = make
    return make


def _hold(world: World, player: Player, role: str = "main") -> Lease:
    """A lease that was taken before the curtain rose. Its holder may walk off and just leave it."""
    with player.backstage():
        lease = world.lease(player.store, role)
        lease.acquire()
    world.granted.append((role, lease.token))
    return lease


# --- leases -------------------------------------------------------------------------------------


@_scenario
def two_acquire_a_new_entity(theatre: Theatre) -> Stage:
    world = theatre.world(pages=1)

    def work(player: Player) -> None:
        try:
            with world.held(player.store):
                world.outcomes.append("held")
                player.point("in the block")
                world.outcomes.append("left")
        except belaypin.LeaseHeld:
            pass

    def check() -> None:
        for first, second in zip(world.outcomes[::2], world.outcomes[1::2], strict=False):
            assert (first, second) == ("held", "left"), f"two at once: {world.outcomes}"
        world.check()

    return Stage({"A": work, "B": work}, check)


@_scenario
def renew_and_release_against_a_takeover(theatre: Theatre) -> Stage:
    world = theatre.world(pages=1)

    def holder(player: Player) -> None:
        lease = _hold(world, player)
        for _ in range(2):
            with player.store._backend.transaction() as tx:
                world.outcomes.append(f"renewed {tx.run(leases.renew(lease._fence()))}")
        lease.release()

    def successor(player: Player) -> None:
        player.point("time passes")
        world.clock.advance(TTL_S + 1)
        lease = world.lease(player.store)
        with suppress(belaypin.LeaseHeld):
            lease.acquire()
            world.granted.append(("main", lease.token))
            player.point("a moment later")
            world.clock.advance(1)  # so that a renewal from now on would show

    def check() -> None:
        query = "SELECT token, expires_us, acquired_us FROM belaypin_lease WHERE key_id = ?"
        token, expires_us, acquired_us = theatre.outside.run(query, world.key_id())[0]
        newest = world.granted[-1][1]
        assert token >= newest, "the token fell back"
        if len(world.granted) == 2:
            assert (token, expires_us) == (newest, acquired_us + TTL_S * 1_000_000), (
                "the old holder's renewal or release touched its successor's lease"
            )
        assert world.outcomes in (
            ["renewed True", "renewed True"],
            ["renewed True", "renewed False"],
            ["renewed False", "renewed False"],
            ["renewed True"],  # crashed
            ["renewed False"],
            [],
        )
        world.check()

    return Stage({"holder": holder, "successor": successor}, check)


# --- a stale writer -----------------------------------------------------------------------------


@_scenario
def takeover_while_a_page_is_committed(theatre: Theatre) -> Stage:
    world = theatre.world(pages=2)

    def zombie(player: Player) -> None:
        lease = _hold(world, player)
        with player.backstage():
            pages = world.pages(lease)
            world.commit(next(pages), lease)
            page = next(pages)
        with suppress(belaypin.Fenced):
            world.commit(page, lease)

    def successor(player: Player) -> None:
        player.point("time passes")
        world.clock.advance(TTL_S + 1)
        with suppress(belaypin.LeaseHeld):
            lease = world.lease(player.store)
            lease.acquire()
            world.granted.append(("main", lease.token))
            there.append(len(world.rows()))

    def check() -> None:
        if there:  # from its grant on, nothing of the one before it comes any more
            assert len(world.rows()) == there[0], "a stale write was accepted"
        world.check()

    there: list[int] = []
    return Stage({"zombie": zombie, "successor": successor}, check)


@_scenario
def a_stale_writer_among_the_commits_of_its_successor(theatre: Theatre) -> Stage:
    world = theatre.world(pages=2)

    def zombie(player: Player) -> None:
        lease = _hold(world, player)
        with player.backstage():
            pages = world.pages(lease)
            world.commit(next(pages), lease)
            page = next(pages)
        world.clock.advance(TTL_S + 1)
        player.point("wakes up")
        try:
            world.commit(page, lease)
            world.outcomes.append("a stale write was accepted")
        except belaypin.Fenced:
            pass

    def successor(player: Player) -> None:
        lease = _hold(world, player)
        with player.backstage():
            page = next(world.pages(lease))
        world.commit(page, lease)

    def check() -> None:
        assert world.outcomes == []
        world.check()

    return Stage({"zombie": zombie, "successor": successor}, check)


@_scenario
def a_stale_writer_of_a_document(theatre: Theatre) -> Stage:
    world = theatre.world(pages=1)

    def zombie(player: Player) -> None:
        lease = _hold(world, player)
        world.clock.advance(TTL_S + 1)
        player.point("wakes up")
        with suppress(belaypin.Fenced):
            _store_profile(world, lease, "old")
            world.outcomes.append("a stale write was accepted")

    def successor(player: Player) -> None:
        lease = _hold(world, player)
        _store_profile(world, lease, "new")

    def check() -> None:
        assert world.outcomes == []
        _check_profiles(world)

    return Stage({"zombie": zombie, "successor": successor}, check)


@_scenario
def takeover_while_a_document_is_stored(theatre: Theatre) -> Stage:
    world = theatre.world(pages=1)
    query = "SELECT count(*) FROM profiles WHERE entity = ?"
    there: list[int] = []

    def zombie(player: Player) -> None:
        lease = _hold(world, player)
        with suppress(belaypin.Fenced):
            _store_profile(world, lease, "old")

    def successor(player: Player) -> None:
        player.point("time passes")
        world.clock.advance(TTL_S + 1)
        with suppress(belaypin.LeaseHeld):
            lease = world.lease(player.store)
            lease.acquire()
            world.granted.append(("main", lease.token))
            there.append(theatre.outside.one(query, world.entity))

    def check() -> None:
        if there:
            assert theatre.outside.one(query, world.entity) == there[0], (
                "a stale write was accepted"
            )
        _check_profiles(world)

    return Stage({"zombie": zombie, "successor": successor}, check)


# --- two writers of one stream ------------------------------------------------------------------


@_scenario
def two_roles_in_the_same_gap(theatre: Theatre) -> Stage:
    world = theatre.world(pages=1)

    def of(role: str) -> Callable[[Player], None]:
        def work(player: Player) -> None:
            lease = _hold(world, player, role)
            with player.backstage():
                page = next(world.pages(lease))
            world.commit(page, lease)

        return work

    return Stage({"main": of("main"), "backfill": of("backfill")}, world.check)


@_scenario
def a_newer_processor_and_older_code(theatre: Theatre) -> Stage:
    world = theatre.world(pages=1)

    def of(role: str, processor: int) -> Callable[[Player], None]:
        def work(player: Player) -> None:
            lease = _hold(world, player, role)
            with suppress(belaypin.SchemaTooNew, belaypin.Fenced):
                for page in world.pages(lease, processor):
                    world.commit(page, lease)

        return work

    def check() -> None:
        world.clock.advance(2 * TTL_S)
        with world.held(theatre.store, "newer") as lease:
            for page in world.pages(lease, processor=1):
                world.commit(page, lease)
        query = "SELECT id, role FROM posts WHERE entity = ? ORDER BY n"
        rows = theatre.outside.run(query, world.entity)
        roles = [role for _, role in rows]
        assert "older" not in roles[roles.index("newer") :], "older code wrote behind newer code"
        newer = [item for item, role in rows if role == "newer"]
        assert sorted(newer) == [item["id"] for item in world.items]

    return Stage({"older": of("older", 0), "newer": of("newer", 1)}, check)


@_scenario
def live_and_backfill(theatre: Theatre) -> Stage:
    world = theatre.world(pages=2)
    for number, item in enumerate(world.items):  # two before we listen, two while we do
        item["at"] = world.clock.now + timedelta(seconds=number - 2)
    world.end = world.clock.now + timedelta(seconds=TTL_S)

    def listener(player: Player) -> None:
        lease = _hold(world, player, "live")
        with player.backstage():
            live = lease.live("posts", at="at")
            live.__enter__()
        world.clock.advance(4)
        batch = live.batch(world.items[1:])  # one of them comes late
        with batch.commit() as tx:
            world.write(tx, batch.items, lease)

    def backfill(player: Player) -> None:
        lease = _hold(world, player)
        with player.backstage():
            page = next(world.pages(lease))
        world.commit(page, lease)

    return Stage({"live": listener, "backfill": backfill}, world.check)


@_scenario
def merging_segments(theatre: Theatre) -> Stage:
    """Run with a small ``FAN_OUT``: each commit merges what the commits before it have left."""
    world = theatre.world(pages=3, page_items=1)
    with (
        world.held(theatre.store) as first,
        first.live("posts", at="at") as live,
        live.batch(world.items[:1]).commit() as tx,
    ):
        world.write(tx, world.items[:1], first)

    def of(role: str, items: list[Item]) -> Callable[[Player], None]:
        def work(player: Player) -> None:
            lease = _hold(world, player, role)
            with player.backstage():
                live = lease.live("posts", at="at")
                live.__enter__()
            with live.batch(items).commit() as tx:
                world.write(tx, items, lease)

        return work

    def reader(player: Player) -> None:
        player.point("looks")
        before = set(world.rows())
        ids = [item["id"] for item in world.items]
        seen = player.store.seen((PIPELINE, world.entity, "posts"), ids)
        assert before <= seen, f"committed {before}, seen {seen}"

    stage = {"one": of("one", world.items[:2]), "two": of("two", world.items[1:])}
    return Stage({**stage, "reader": reader}, world.check)


# --- documents and states -----------------------------------------------------------------------


def _store_profile(world: World, lease: Lease, content: str) -> None:
    with lease.changed("profile", {"text": content}) as change:
        if change:
            sql = "INSERT INTO profiles (entity, content, kind) VALUES (?, ?, ?)"
            change.tx.execute(world.theatre.sql(sql), (world.entity, content, change.kind))


def _check_profiles(world: World) -> None:
    outside = world.theatre.outside
    query = "SELECT content, kind FROM profiles WHERE entity = ? ORDER BY n"
    written = outside.run(query, world.entity)
    kinds = [kind for _, kind in written]
    assert kinds == ["new", *["changed"] * (len(kinds) - 1)][: len(kinds)], kinds
    repeated = [a for (a, _), (b, _) in pairwise(written) if a == b]
    assert not repeated, f"the same content was processed twice: {written}"
    query = (
        "SELECT content_hash, changed FROM belaypin_checkpoint"
        " WHERE entity = ? AND stream = 'profile' AND content_hash IS NOT NULL"
    )
    stored = outside.run(query, world.entity)
    newest = [(belaypin.fingerprint({"text": written[-1][0]}), len(written))] if written else []
    assert stored == newest, f"stored {stored}, written {written}"


def _two_change(theatre: Theatre, contents: tuple[str, str]) -> Stage:
    world = theatre.world(pages=1)

    def of(role: str, content: str) -> Callable[[Player], None]:
        def work(player: Player) -> None:
            lease = _hold(world, player, role)
            _store_profile(world, lease, content)

        return work

    def check() -> None:
        _check_profiles(world)
        world.clock.advance(2 * TTL_S)
        with world.held(theatre.store) as lease:
            _store_profile(world, lease, contents[0])
        _check_profiles(world)

    return Stage({"main": of("main", contents[0]), "other": of("other", contents[1])}, check)


@_scenario
def two_roles_see_the_same_change(theatre: Theatre) -> Stage:
    return _two_change(theatre, ("same", "same"))


@_scenario
def two_roles_see_different_changes(theatre: Theatre) -> Stage:
    return _two_change(theatre, ("one", "another"))


@_scenario
def two_release_what_was_unchanged(theatre: Theatre) -> Stage:
    """Each notes, as it releases, the documents that it saw again: in an order of its own."""
    world = theatre.world(pages=1)
    with world.held(theatre.store) as lease:
        for stream in ("a", "b"):
            with lease.changed(stream, {"text": "same"}) as change:
                assert change

    def of(role: str, streams: str) -> Callable[[Player], None]:
        def work(player: Player) -> None:
            lease = _hold(world, player, role)
            with player.backstage():
                for stream in streams:
                    with lease.changed(stream, {"text": "same"}) as change:
                        assert not change
            lease.release()

        return work

    return Stage({"main": of("main", "ab"), "other": of("other", "ba")}, world.check)


@_scenario
def two_save_one_state(theatre: Theatre) -> Stage:
    key = (PIPELINE, theatre.name())

    def add_one(store: Store) -> None:
        while True:
            before = store.load(key)
            count, version = (before.state["count"], before.version) if before else (0, 0)
            try:
                store.save(key, {"count": count + 1}, expected_version=version)
            except belaypin.VersionConflict:
                continue
            done.append(1)
            return

    done: list[int] = []

    def check() -> None:
        crashed = 2 - len(done)
        saved = theatre.store.load(key)
        found = saved.state["count"] if saved else 0
        # A worker that crashed may have been about to say that it had saved.
        assert len(done) <= found <= len(done) + crashed
        assert (saved.version if saved else 0) == found

    return Stage({"A": lambda p: add_one(p.store), "B": lambda p: add_one(p.store)}, check)


# --- operations ---------------------------------------------------------------------------------


def _once(theatre: Theatre, operation: str, store: Store, who: str) -> str:
    """What became of it: ran, known, running, fenced."""
    try:
        with store.once(operation, ttl_s=OP_TTL_S) as op:
            if not op:
                return f"known {op.result['by']}"
            sql = theatre.sql("INSERT INTO effects (operation, who) VALUES (?, ?)")
            op.tx.execute(sql, (operation, who))
            op.result = {"by": who}
        return f"ran {who}"
    except belaypin.OperationRunning:
        return "running"
    except belaypin.Fenced:
        return "fenced"


def _two_ask(theatre: Theatre, *, takeover: bool) -> Stage:
    operation = theatre.name()
    outcomes: list[str] = []

    def first(player: Player) -> None:
        outcomes.append(_once(theatre, operation, player.store, "A"))

    def second(player: Player) -> None:
        if takeover:
            player.point("time passes")
            theatre.clock.advance(OP_TTL_S + 1)
        outcomes.append(_once(theatre, operation, player.store, "B"))

    def check() -> None:
        theatre.clock.advance(2 * OP_TTL_S)
        last = _once(theatre, operation, theatre.store, "C")
        query = "SELECT who FROM effects WHERE operation = ?"
        effects = [who for (who,) in theatre.outside.run(query, operation)]
        assert len(effects) == 1, f"{effects}, {outcomes}, {last}"
        assert last in (f"ran {effects[0]}", f"known {effects[0]}")
        told = Counter(o.split()[1] for o in outcomes if o.startswith(("ran", "known")))
        assert set(told) <= {effects[0]}, f"{outcomes}, but {effects}"

    return Stage({"A": first, "B": second}, check)


@_scenario
def two_ask_for_one_operation(theatre: Theatre) -> Stage:
    return _two_ask(theatre, takeover=False)


@_scenario
def an_operation_is_taken_over(theatre: Theatre) -> Stage:
    return _two_ask(theatre, takeover=True)


# --- messages -----------------------------------------------------------------------------------


def _two_deliver(theatre: Theatre, *, takeover: bool) -> Stage:
    topic = theatre.name()
    keys = ["m1", "m2"]
    for key in keys:
        theatre.store.send(topic, key, key=key)
    handled: list[str] = []
    now: set[str] = set()

    def deliver(store: Store, player: Player | None, limit: int | None) -> belaypin.Delivery:
        def handler(message: belaypin.Message) -> None:
            assert takeover or message.key not in now, f"two at once: {message.key}"
            now.add(message.key)
            if player is not None:
                player.point(f"handling {message.key}")
            handled.append(message.key)
            now.discard(message.key)

        return store.deliver(topic, handler, ttl_s=OP_TTL_S, max_messages=limit)

    done: list[belaypin.Delivery] = []

    def first(player: Player) -> None:
        done.append(deliver(player.store, player, 1))

    def second(player: Player) -> None:
        if takeover:
            player.point("time passes")
            theatre.clock.advance(OP_TTL_S + 1)
        done.append(deliver(player.store, player, 1))

    def check() -> None:
        now.clear()
        marked = theatre.outside.run(
            "SELECT message_key FROM belaypin_outbox WHERE topic = ? AND status = 'delivered'",
            topic,
        )
        assert {key for (key,) in marked} <= {*handled}, "marked, and nobody handled it"
        if len(done) == 2 and not takeover:
            assert sorted(handled) == keys, f"{handled}: nobody was crashed, so each comes once"
        theatre.clock.advance(2 * OP_TTL_S)
        deliver(theatre.store, None, None)
        assert {*handled} == {*keys}
        assert theatre.store.undelivered(topic) == []
        assert max(Counter(handled).values()) <= 3

    return Stage({"A": first, "B": second}, check)


@_scenario
def two_deliver_the_same_messages(theatre: Theatre) -> Stage:
    return _two_deliver(theatre, takeover=False)


@_scenario
def a_message_is_taken_over(theatre: Theatre) -> Stage:
    return _two_deliver(theatre, takeover=True)


# --- the tables themselves ----------------------------------------------------------------------


@_scenario
def two_make_the_tables(theatre: Theatre) -> Stage:
    url = theatre.empty_url()

    def work(player: Player) -> None:
        with player.backstage():
            store = player.open(url)
        store._migrate(upto=2)  # more steps are more of the same, in far more orders

    def check() -> None:
        with belaypin.open(url, clock=theatre.clock) as store:
            assert store.save("key", {"by": "third"}) == 1
        with theatre.look_at(url) as outside:
            steps: list[Any] = outside.run("SELECT version FROM belaypin_migration")
            assert len(steps) == len({*steps}) >= 1
            assert outside.one("SELECT count(*) FROM belaypin_meta WHERE name = 'epoch'") == 1

    return Stage({"A": work, "B": work}, check)
