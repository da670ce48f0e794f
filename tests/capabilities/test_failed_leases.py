"""A lease whose block fails is released and says why, whatever exception it was."""

from __future__ import annotations

import pytest

from tests.capabilities.sites import Site


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("error", [ValueError("a\0b\ud800" * 9_000), Mute()])
async def test_an_error_that_can_hardly_be_stored_keeps_no_lease(
    site: Site, error: Exception
) -> None:
    store = await site.open()
    with pytest.raises(type(error)) as raised:
        async with store.lease("shop", "user:7"):
            raise error
    assert getattr(raised.value, "__notes__", []) == []
    status = await store.status(("shop", "user:7"))
    assert status.error.startswith(type(error).__name__)
    assert await site.query("SELECT expires_us FROM belaypin_lease") == [(0,)]
