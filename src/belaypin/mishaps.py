"""Mishaps: what is kept of an exception, as text that every database can hold."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["MAX_ERROR_CHARS", "MAX_TRACEBACK_CHARS", "Mishap", "storable"]

MAX_ERROR_CHARS = 8_000
MAX_TRACEBACK_CHARS = 32_000


class Mishap(NamedTuple):
    """An exception in a line or few, and its traceback."""

    error: str
    traceback: str | None

    @classmethod
    def of(cls, error: BaseException) -> Mishap:
        r"""What is kept of ``error``: its words from their beginning, its traceback to its end.

        >>> Mishap.of(ValueError("no\0good"))
        Mishap(error='ValueError: no\\0good', traceback='ValueError: no\\0good')
        """
        from traceback import format_exception  # rarely needed

        try:
            words = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 -- a broken __str__ must not hide the error that it is of
            words = f"{type(error).__name__}: (its text can't be had)"
        trace = storable("".join(format_exception(error)).rstrip())
        return cls(storable(words)[:MAX_ERROR_CHARS], trace[-MAX_TRACEBACK_CHARS:])


def storable(text: str) -> str:
    """Without what PostgreSQL (NUL) or UTF-8 (halves of surrogate pairs) has no place for."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
