"""A signal handler that raises, at every line of a commit: neither a transaction nor a lease is left.

As Ctrl-C does, and SIGTERM with ``sys.exit``: the exception comes up wherever the program stands,
in the middle of what would have ended the transaction as well.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import belaypin

PACKAGE = Path(belaypin.__file__).parent
TRACED = {
    str(PACKAGE / part) for part in ("backends/sqlite.py", "_sync/work.py", "_sync/commit.py")
}


class Signal(BaseException):
    """What the handler raises."""


class Tracer:
    """Raises at the ``number``-th line."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                raise Signal
        return self


def commit_interrupted(store: belaypin.Store, entity: str, number: int) -> None:
    """A page whose commit block is interrupted at its ``number``-th line, if it has as many."""
    with store.lease("p", entity, ttl_s=3600) as lease:
        for window in lease.windows("s", since="1d"):
            for page in window.pages(lambda _: ([{"id": 1}], None)):
                sys.settrace(Tracer(number))
                try:
                    with page.commit() as tx:
                        tx.fresh(page.items, key="id")
                        tx.execute("INSERT INTO effect VALUES (?)", (entity,))
                finally:
                    sys.settrace(None)


@pytest.mark.parametrize("place", ["file", "memory"])
def test_a_signal_at_any_line_of_a_commit_leaves_nothing_behind(place: str, tmp_path: Path) -> None:
    url = "sqlite:///:memory:" if place == "memory" else f"sqlite:///{tmp_path}/store.db"
    with belaypin.open(url) as store:
        store.execute("CREATE TABLE effect (entity TEXT)")
        for number in count(1):
            entity = f"e{number}"
            notes: list[str] = []
            try:
                commit_interrupted(store, entity, number)
                break
            except Signal as signal:
                notes = getattr(signal, "__notes__", [])
            assert notes == [], f"line {number}"
            held = store.execute("SELECT count(*) FROM belaypin_lease WHERE expires_us <> 0")
            assert held.rows == [(0,)], f"line {number}"
            effects = store.execute("SELECT count(*) FROM effect WHERE entity = ?", (entity,))
            assert effects.rows == [(len(store.seen(("p", entity, "s"), [1])),)], f"line {number}"
        assert number > 100
        assert store.verify().ok
