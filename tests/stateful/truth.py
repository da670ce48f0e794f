"""What the database keeps by itself for listings, against the coverage rows that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["UNTRUE", "check_heads"]

UNTRUE = (
    "SELECT c.pipeline, c.entity, c.stream, c.generation, c.head_us, c.intervals"
    " FROM belaypin_checkpoint c LEFT JOIN"
    " (SELECT key_id, generation, MIN(end_us) AS head_us, COUNT(*) AS intervals"
    "  FROM belaypin_coverage GROUP BY key_id, generation) v"
    " ON v.key_id = c.key_id AND v.generation = c.generation"
    " WHERE COALESCE(c.head_us, -1) <> COALESCE(v.head_us, -1)"
    " OR c.intervals <> COALESCE(v.intervals, 0)"
)
"""Rows whose head or number of intervals is not what their coverage says."""


def check_heads(execute: Callable[[str], Any]) -> None:
    assert execute(UNTRUE).rows == []
