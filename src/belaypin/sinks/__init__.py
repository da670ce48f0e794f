"""File sinks: whole files only, each item in exactly one, tied to the commit of its page.

>>> import belaypin, tempfile
>>> from belaypin.sinks import JsonLines
>>> folder = tempfile.mkdtemp()
>>> sink = JsonLines(folder, name="posts")
>>> with belaypin.open("sqlite:///:memory:") as store:
...     with store.lease("social", "user:7") as user:
...         for window in user.windows("posts", since="30d"):
...             for page in window.pages(lambda cursor: ([{"id": 1}, {"id": 2}], None)):
...                 with page.commit() as tx:
...                     for post in tx.fresh(page.items, key="id"):
...                         sink.write(tx, post)
...     [(file.rows, (sink.directory / file.name).read_text()) for file in sink.files(store)]
[(2, '{"id":1}\\n{"id":2}\\n')]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from belaypin.sinks.jsonlines import JsonLines
from belaypin.sinks.reports import FilesReport, Recovered, SinkFile
from belaypin.sinks.sink import Sink

if TYPE_CHECKING:
    from belaypin.sinks.parquet import Parquet

__all__ = ["FilesReport", "JsonLines", "Parquet", "Recovered", "Sink", "SinkFile"]

if not TYPE_CHECKING:  # pyarrow takes half a second to import, and need not be there

    def __getattr__(name: str) -> Any:
        if name == "Parquet":
            from belaypin.sinks.parquet import Parquet

            return Parquet
        raise AttributeError(f"module 'belaypin.sinks' has no attribute {name!r}")
