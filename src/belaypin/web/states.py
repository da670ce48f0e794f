"""States as people look at them: in the shape that they were saved in, whichever schema that was."""

from __future__ import annotations

from typing import Any

import belaypin

__all__ = ["stored"]


async def stored(store: belaypin.AsyncStore, key: belaypin.Key) -> belaypin.Checkpoint[Any] | None:
    """The checkpoint at a Key. Raises CorruptRecord if its state is damaged."""
    newest = await store.history(key, limit=1)
    number = newest[0].schema_version if newest else 0
    return await store.load(key, schema=belaypin.Schema(number) if number else None)
