"""Facts: which ids of a stream are committed, each with the segment that proves it.

What a cache claims is never taken for true. It names the segment that its id lies in, and a
segment is never changed: so a claim holds as long as that very segment is in the stream's present
generation. It falls with a rewind, a reset, a restore from a backup, and with the ledger's upkeep.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import ledger
from belaypin.programs.checkpoints import named
from belaypin.segments import order_key

__all__ = ["Found", "Proof", "Standing", "find", "make_secret", "secret", "standing"]

_ANY_SEQ = (0, 2**63 - 1)


class Standing(NamedTuple):
    """Which stream, and which generation of it: facts of another one no longer count."""

    key_id: int
    generation: int


class Proof(NamedTuple):
    """A segment, told apart from any that a history undone by a restore had in its place.

    Tokens never repeat with another holder, nor does a holder's clock with the same token.
    """

    seq: int
    token: int
    created_us: int


class Found(NamedTuple):
    """The ids that are committed at a ``standing``, each with what proves it."""

    standing: Standing | None
    proofs: Mapping[ItemId, Proof]


def standing(key: Key) -> Program[Standing | None]:
    """Where the stream at ``key`` stands: one row by its index; None if there is no such row."""
    rows = yield Statement("fact.standing", named(key))
    return Standing(*rows[0]) if rows else None


def find(
    key: Key,
    ids: Collection[ItemId],
    claims: Mapping[ItemId, Proof] | None = None,
    claimed_at: Standing | None = None,
) -> Program[Found]:
    """Find those of the ids that are committed; ``claims`` that hold spare reading their segment.

    ``claimed_at`` is where the stream stood when the claims were made.
    """
    stands = yield from standing(key)
    if stands is None:
        return Found(None, {})
    claims = claims if claims and claimed_at == stands else {}
    segments = yield from _segments(stands, ids, claims)
    proven = {proof for proof, _, _ in segments}
    found = {item_id: proof for item_id, proof in claims.items() if proof in proven}
    left = set(ids).difference(found)
    keys = sorted(map(order_key, left))
    for proof, low, high in segments:
        if _reaches(low, high, keys):
            stored = yield from ledger.read(stands.key_id, proof.seq)
            hits = left.intersection(stored)
            if hits:
                found.update(dict.fromkeys(hits, proof))
                left -= hits
                keys = sorted(map(order_key, left))
    return Found(stands, found)


def secret() -> Program[str | None]:
    """What facts in a cache are sealed with, if the store has that already."""
    rows = yield Statement("meta.read", {"name": "cache_secret"})
    return rows[0][0] if rows else None


def make_secret(fresh: str) -> Program[str]:
    """``fresh``, unless another process has just made the secret."""
    yield Statement("meta.insert", {"name": "cache_secret", "value": fresh})
    kept = yield from secret()
    assert kept is not None
    return kept


def _segments(
    stands: Standing, ids: Collection[ItemId], claims: Mapping[ItemId, Proof]
) -> Program[list[tuple[Proof, bytes, bytes]]]:
    """The segments that may matter: all of them, or where all is claimed those that are named."""
    first_seq, last_seq = _ANY_SEQ
    if claims and len(claims) == len(set(ids)):
        seqs = [proof.seq for proof in claims.values()]
        first_seq, last_seq = min(seqs), max(seqs)
    bounds = {"first_seq": first_seq, "last_seq": last_seq}
    rows = yield Statement("fact.segments", {**stands._asdict(), **bounds})
    return [(Proof(*row[:3]), bytes(row[3]), bytes(row[4])) for row in rows]


def _reaches(low: bytes, high: bytes, keys: Sequence[bytes]) -> bool:
    """Whether one of the sorted ``keys`` lies between the two ends."""
    return (
        bool(keys) and keys[-1] >= low and keys[0] <= high and keys[bisect_left(keys, low)] <= high
    )
