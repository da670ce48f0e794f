"""Every check of the shipped suite, on every database that belaypin ships with, in both colours."""

from __future__ import annotations

import pytest

from belaypin.testing import conformance
from belaypin.testing.conformance import AsyncPlace, Check, Place
from tests.conformance.places import OFFERS


def _pairs(checks: list[Check]) -> list[object]:
    """Each check with each database that has what it needs; the ids say which."""
    return [
        pytest.param(database, check, id=f"{database}-{check}")
        for database, offers in OFFERS.items()
        for check in checks
        if check.fits(*offers)
    ]


@pytest.mark.parametrize(("database", "check"), _pairs(conformance.checks()))
def test_sync(check: Check, place: Place) -> None:
    check(place)


@pytest.mark.parametrize(("database", "check"), _pairs(conformance.async_checks()))
async def test_async(check: Check, async_place: AsyncPlace) -> None:
    await check(async_place)


def test_both_colours_have_the_same_checks() -> None:
    both = conformance.checks(), conformance.async_checks()
    assert [check.name for check in both[0]] == [check.name for check in both[1]]
    assert len({check.name for check in both[0]}) == len(both[0]) > 100


def test_only_what_needs_more_than_one_store_is_left_out_in_memory() -> None:
    left_out = [check for check in conformance.checks() if not check.fits(*OFFERS["memory"])]
    assert all(check.needs for check in left_out)
    assert all(check.fits(*OFFERS["file"]) for check in conformance.checks())
