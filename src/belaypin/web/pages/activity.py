"""Activity: what was done to history, by whom, from the command line, from code and from here."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from belaypin import Key
from belaypin.web.page import LIMIT, MAX_LIMIT, Page, Params, View

__all__ = ["PAGE"]


class Activity(Params, frozen=True, kw_only=True):
    """``actor``: a part of who acted. ``before``: the number of the entry behind which to go on."""

    pipeline: str | None = None
    entity: str | None = None
    stream: str | None = None
    actor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = LIMIT
    before: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None

    @property
    def key(self) -> Key | None:
        """The Key that it is about, if it is about one."""
        if not self.pipeline:
            return None
        return Key(self.pipeline, self.entity or "", self.stream or "")


async def build(view: View, params: Activity) -> dict[str, Any]:
    """The entries of one page, newest first."""
    key = params.key
    rows = await view.store.audit(key, actor=params.actor, limit=params.limit, before=params.before)
    return {
        "rows": rows,
        "key": key,
        "next": rows[-1].number if len(rows) == params.limit else None,
        "command": view.command("audit", key, actor=params.actor),
    }


PAGE = Page("/activity", "Activity", "activity.html", Activity, build, nav="Activity")
