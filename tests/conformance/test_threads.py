"""Threads: one store serves them all, each with leases of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import belaypin
from belaypin.testing.conformance._sync.loop import effects, mine, opened
from belaypin.testing.conformance.source import Source, events, minute
from belaypin.testing.conformance.threads import in_threads
from tests.conformance.places import OFFERS, LocalPlace

THREADS = 8


def _work(place: LocalPlace, store: belaypin.Store, entity: str, wait_s: float = 0) -> int:
    with store.lease("shop", entity, wait_s=wait_s) as lease:
        for number in range(3):
            store.save(("shop", entity, "progress"), {"round": number})
            with store.once(f"{entity} {number}") as op:
                op.result = number
        return len(mine(place, lease, Source(events(20), page_items=4), until=minute(60)))


@pytest.mark.parametrize("database", OFFERS)
def test_threads_with_leases_of_their_own(place: LocalPlace) -> None:
    store = opened(place)
    done = in_threads([partial(_work, place, store, f"user:{n}") for n in range(THREADS)])
    assert done == [20] * THREADS
    assert effects(place) == sorted(str(n) for n in range(20) for _ in range(THREADS))
    assert all(
        store.load(("shop", f"user:{n}", "progress"), dict[str, Any]) for n in range(THREADS)
    )


@pytest.mark.parametrize("database", OFFERS)
def test_threads_that_want_the_same_lease_take_turns(place: LocalPlace) -> None:
    store = opened(place)
    done = in_threads([partial(_work, place, store, "user:7", 30)] * THREADS)
    assert sorted(map(str, done)) == ["0"] * (THREADS - 1) + ["20"], done
    assert effects(place) == sorted(str(n) for n in range(20))
    tokens = place.query("SELECT token FROM belaypin_lease")
    assert len(tokens) == 1


@pytest.mark.parametrize("database", OFFERS)
def test_roles_in_threads_share_a_stream(place: LocalPlace) -> None:
    store = opened(place)

    def work(role: str) -> int:
        with store.lease("shop", "user:7", role=role) as lease:
            return len(mine(place, lease, Source(events(60)), until=minute(60)))

    done = in_threads([partial(work, f"role {n}") for n in range(THREADS)])
    assert sum(n for n in done if isinstance(n, int)) == 60, done
    assert effects(place) == sorted(str(n) for n in range(60))
