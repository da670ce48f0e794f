"""``belaypin explain``: why an item or a document was skipped."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import ITEM, KEY, Call, on_store

__all__ = ["explain_command"]


@click.command("explain")
@click.argument("key", type=KEY)
@click.argument("item", type=ITEM, required=False)
@on_store("read")
def explain_command(
    call: Call, store: belaypin.Store, key: belaypin.Key, item: str | int | None
) -> None:
    """Why an ITEM of a stream was processed or skipped, and what it would be now.

    Without ITEM: the same for the document at the key. An ITEM of digits is a number, and if that
    is not known the text; in double quotes ('"7"') it is the text.
    """
    found = store.explain(key, item)
    if isinstance(item, int) and found.reason == "new":
        as_text = store.explain(key, str(item))
        found = found if as_text.reason == "new" else as_text
    call.show.record(found, str(found))
