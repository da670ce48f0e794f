"""The audit: each act that changes history or gives something up is noted in its transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs.scope import Scope
from belaypin.programs.sieve import pattern
from belaypin.records.checkpoints import AuditEntry
from belaypin.times import from_us

__all__ = ["note", "read"]


def note(actor: str, action: str, key: Key | None, detail: Mapping[str, Any]) -> Program[None]:
    """Note an act: ``action`` is one word, ``detail`` says the rest as a JSON object."""
    pipeline, entity, stream = (
        ("", "", "") if key is None else (key.pipeline, key.entity, key.stream)
    )
    yield Statement(
        "audit.note",
        {
            "actor": actor,
            "action": action,
            "pipeline": pipeline,
            "entity": entity,
            "stream": stream,
            "detail": msgspec.json.encode(detail).decode(),
        },
    )


def read(key: Key | None, actor: str | None, before: int, count: int) -> Program[list[AuditEntry]]:
    """The newest ``count`` acts numbered below ``before``, at the Key and beneath it."""
    asked: dict[str, SqlValue] = {"actor": pattern(actor or ""), "before": before, "count": count}
    rows = yield Statement("audit.list", {**Scope.at(key).params(), **asked})
    return [_entry(*row) for row in rows]


def _entry(number: int, at_us: int, actor: str, action: str, *rest: str) -> AuditEntry:
    *parts, detail = rest
    named = [part for part in parts if part]
    return AuditEntry(
        number=number,
        at=from_us(at_us),
        actor=actor,
        action=action,
        key=Key(*named) if named else None,
        detail=msgspec.json.decode(detail),
    )
