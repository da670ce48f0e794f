# Generated from src/belaypin/testing/conformance/_async/hostile.py by tools/generate_sync.py; do not edit.
"""Hostile input: whatever a name or an id holds, it names that one thing and nothing else."""

from __future__ import annotations

from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import effects, mine, opened
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.source import Source, event, minute

NASTY = (
    "'; DROP TABLE effect; --",
    '"; DELETE FROM belaypin_checkpoint; --',
    "' OR '1'='1",
    "%s %(id)s %% ? :id $1 {0} {now_us}",
    "\\'; \\x00 \\u0000",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "${jndi:ldap://x} $(id) `id`",
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{ZERO WIDTH SPACE}\N{COMBINING ACUTE ACCENT}\N{PILE OF POO}",
    "\x01\x1b[31m\x7f\r\n\t",
    "\uffff\ufffe\U0010ffff",
    "null",
    "NaN",
    "0x1",
    "1e3",
    " ",
    "a" * 512,
)


def check_names_are_only_names(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    for number, name in enumerate(NASTY):
        with store.lease(name, name, role=name) as lease:
            source = Source([event(f"{number}-{inner}", inner) for inner in range(3)])
            assert len(mine(place, lease, source, name)) == 3
            with lease.changed(name + " "[: len(name) < 512], {name: name}) as change:
                assert change.kind in ("new", "changed")
        store.save((name, name, name), {name: name})
        found = store.load((name, name, name))
        assert found is not None
        assert found.state == {name: name}
    assert len(effects(place)) == 3 * len(NASTY)


def check_ids_are_only_ids(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    items = [event(name, number, body=name) for number, name in enumerate(NASTY)]
    for _ in range(2):
        with store.lease("shop", "x") as lease:
            mine(place, lease, Source(items), "s", overlap="1h")
    assert effects(place) == sorted(NASTY)
    assert store.seen(("shop", "x", "s"), NASTY) == {*NASTY}
