"""States that are pydantic models: the suite itself needs no pydantic."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from pydantic import BaseModel

import belaypin
from tests.conformance.places import OFFERS, LocalPlace


class Inner(BaseModel):
    tags: set[str] = set()


class Model(BaseModel):
    page: int
    until: datetime
    price: Decimal
    inner: Inner = Inner()


@pytest.mark.parametrize("database", OFFERS)
def test_models_are_read_back(place: LocalPlace) -> None:
    store = place.open()
    model = Model(
        page=3,
        until=datetime(2024, 1, 1, tzinfo=UTC),
        price=Decimal("1.10"),
        inner=Inner(tags={"a"}),
    )
    assert store.save("p", model) == 1
    found = store.load("p", Model)
    assert found is not None
    assert found.state == model
    assert type(found.state) is Model
    with pytest.raises(belaypin.UsageError, match="page"):
        store.load("p", int)
