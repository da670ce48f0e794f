"""Explanation: what became of one item of a stream, or of the document at a key."""

from __future__ import annotations

from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import checkpoints, failures, ledger
from belaypin.records.explanation import Explanation, Placed
from belaypin.records.failure import id_text
from belaypin.revisions import parts
from belaypin.segments import order_key
from belaypin.times import MIN_US, from_us

__all__ = ["of_document", "of_item"]


def of_item(key: Key, item_id: ItemId) -> Program[Explanation]:
    """Look the id up in the ledger, newest segment first, the present generation before others."""
    row = yield from checkpoints.read(key)
    if row is None:
        return Explanation(key=key, item_id=item_id, verdict="process", reason="new")
    placed = yield from _find(row.key_id, row.generation, item_id)
    aside = yield from failures.among(row.key_id, row.generation, [id_text(item_id)])
    if aside:
        return Explanation(
            key=key,
            item_id=item_id,
            verdict="process" if aside[0].may_be_tried(row.now_us, None) else "skip",
            reason=aside[0].status,
            generation=row.generation,
            processor=row.processor,
            placed=placed,
            failure_id=aside[0].failure_id,
        )
    is_present = placed is not None and placed.generation == row.generation
    return Explanation(
        key=key,
        item_id=item_id,
        verdict="skip" if is_present else "process",
        reason="new" if placed is None else "unchanged" if is_present else "rewound",
        generation=row.generation,
        processor=row.processor,
        placed=placed,
        horizon=None if row.horizon_us == MIN_US else from_us(row.horizon_us),
    )


def of_document(key: Key, given_hash: str | None) -> Program[Explanation]:
    """Compare what was committed at the key with a fingerprint, if one is given."""
    row = yield from checkpoints.read(key)
    if row is None or row.content_hash is None:
        return Explanation(
            key=key, item_id=None, verdict="process", reason="new", given_hash=given_hash
        )
    is_changed = given_hash is not None and given_hash != row.content_hash
    return Explanation(
        key=key,
        item_id=None,
        verdict="process" if is_changed else "skip",
        reason="changed" if is_changed else "unchanged",
        generation=row.generation,
        content_hash=row.content_hash,
        given_hash=given_hash,
        version=row.version,
        processor=row.processor,
        revision=row.revision,
        first_seen_at=None if row.first_seen_us is None else from_us(row.first_seen_us),
        last_seen_at=None if row.last_seen_us is None else from_us(row.last_seen_us),
    )


def _find(key_id: int, generation: int, item_id: ItemId) -> Program[Placed | None]:
    rows = yield Statement("explain.holding", {"key_id": key_id, "id_key": order_key(item_id)})
    for seq, made_in, level, items, token, created_us in sorted(
        rows, key=lambda row: (row[1] != generation, -row[0])
    ):
        ids = yield from ledger.read(key_id, seq)
        if item_id in ids:
            fingerprint = ids[item_id]
            revision, content = (None, None) if fingerprint is None else parts(fingerprint)
            shown = None if content is None else content.hex()
            return Placed(seq, level, made_in, items, token, from_us(created_us), shown, revision)
    return None
