"""What must happen: the right error with advice in it, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

from belaypin.errors import BelaypinError

__all__ = ["noting", "raises", "refused", "unchanged"]

_LEAST_ADVICE_CHARS = 30

Dump = dict[str, list[tuple[Any, ...]]]


class _Dumps(Protocol):
    def dump(self) -> Dump: ...


class _Raises:
    def __init__(self, kind: type[BaseException], words: tuple[str, ...]) -> None:
        self._kind = kind
        self._words = words

    def __enter__(self) -> None:
        """Nothing to be done."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert kind is not None, f"{self._kind.__name__} was not raised"
        if kind is not self._kind:
            return False
        missing = [word for word in self._words if word.lower() not in str(error).lower()]
        assert not missing, f"{missing} not in: {error}"
        has_advice = len(str(error)) >= _LEAST_ADVICE_CHARS
        assert has_advice or not issubclass(kind, BelaypinError), f"no advice in: {error}"
        return True


class _Refused(_Raises):
    def __init__(self, place: _Dumps, kind: type[BaseException], words: tuple[str, ...]) -> None:
        super().__init__(kind, words)
        self._place = place
        self._before: Dump = {}

    def __enter__(self) -> None:
        self._before = self._place.dump()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        expected = super().__exit__(kind, error, traceback)
        if expected:
            _compare(self._before, self._place.dump())
        return expected


def raises(kind: type[BaseException], *words: str) -> _Raises:
    """The block raises ``kind`` itself, and the message has the ``words``.

    >>> with raises(ZeroDivisionError, "by zero"):
    ...     1 / 0
    """
    return _Raises(kind, words)


def refused(place: _Dumps, kind: type[BaseException], *words: str) -> _Refused:
    """The block raises ``kind``, and nothing is written."""
    return _Refused(place, kind, words)


@contextmanager
def unchanged(place: _Dumps) -> Iterator[None]:
    """No row of any table is other after the block than before it."""
    before = place.dump()
    yield
    _compare(before, place.dump())


@contextmanager
def noting(what: str) -> Iterator[None]:
    """An error in the block says with what it happened."""
    try:
        yield
    except Exception as error:
        error.add_note(f"with {what}")
        raise


def _compare(before: Dump, after: Dump) -> None:
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not changed, "\n".join(f"{n}: {before.get(n)} became {after.get(n)}" for n in changed)
