"""The pages, in the order of the navigation."""

from __future__ import annotations

from belaypin.web.page import Page
from belaypin.web.pages import (
    activity,
    coverage,
    efficiency,
    entity,
    failures,
    items,
    leases,
    overview,
    recovery,
    storage,
)

__all__ = ["PAGES"]

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    coverage.PAGE,
    items.PAGE,
    recovery.PAGE,
    failures.PAGE,
    failures.ONE,
    leases.PAGE,
    storage.PAGE,
    efficiency.PAGE,
    activity.PAGE,
    entity.PAGE,
)
