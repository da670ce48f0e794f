"""JSON Lines: one JSON value a line, each line ended by a newline."""

from __future__ import annotations

from typing import Any

import msgspec

from belaypin.codec import check_row
from belaypin.errors import UsageError
from belaypin.sinks.disk import Output
from belaypin.sinks.part import Encoder
from belaypin.sinks.sink import Sink

__all__ = ["JsonLines"]

_JSON = msgspec.json.Encoder()


class JsonLines(Sink):
    """Files of JSON Lines (UTF-8, a newline after each row) in ``directory``, one for each commit.

    Rows are dicts, lists, dataclasses, msgspec Structs, pydantic models; datetimes become ISO 8601
    text, bytes base64. ``name`` is what the files begin with, by default the directory's name.

    >>> import tempfile
    >>> JsonLines(tempfile.mkdtemp(), name="posts").name
    'posts'
    """

    suffix = ".jsonl"

    def _encoder(self, output: Output) -> Encoder:
        return _Lines(output)


class _Lines:
    def __init__(self, output: Output) -> None:
        self._output = output

    def take(self, row: Any) -> bytes:
        if hasattr(type(row), "model_dump"):
            row = row.model_dump(mode="json")
        try:
            line = _JSON.encode(row)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UsageError(f"the row can't be written as JSON: {error}.") from error
        if b"null" in line:
            check_row(row)  # NaN became null without a word
        return line + b"\n"

    def check(self, taken: bytes) -> None:
        """Whatever was taken can be written."""

    def write(self, taken: bytes) -> None:
        self._output.write(taken)

    def finish(self) -> None:
        """Every line is written already."""
