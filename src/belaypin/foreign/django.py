"""A database connection of Django, inside ``transaction.atomic()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from belaypin.backends.base import Params, Result
from belaypin.catalog import Dialect, ParamStyle
from belaypin.errors import UsageError
from belaypin.program import Rows

__all__ = ["Django"]

_DIALECTS: dict[str, Dialect] = {"sqlite": "sqlite", "postgresql": "postgres"}


class Django:
    """``django.db.connection``, or one of ``django.db.connections``, through its own cursors."""

    style: ParamStyle = "pyformat"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        if connection.vendor not in _DIALECTS:
            raise UsageError(
                f"This connection of Django is to {connection.display_name}, where no store can be. "
                f"Join one to SQLite or PostgreSQL."
            )
        self.dialect = _DIALECTS[connection.vendor]

    def begin(self) -> None:
        """Make sure that a transaction is open that ends only when the user ends it."""
        if not self._connection.in_atomic_block:
            alias = self._connection.alias
            using = "" if alias == "default" else f"using={alias!r}"
            raise UsageError(
                f"Django's connection {alias!r} has no transaction open (it commits each statement "
                f"by itself), so there is nothing to join. Open one: `with "
                f"transaction.atomic({using}): ...`."
            )

    def query(self, sql: str, params: Params = ()) -> Rows:
        """Run one statement of belaypin's."""
        return self.execute(sql, params).rows

    def execute(self, sql: str, params: Params) -> Result:
        """Run one statement, in Django's parameter style: ``%s`` or ``%(name)s``."""
        # Without parameters % stands for itself; our own statements always have them, if only {}.
        given = params if isinstance(params, Mapping) else params or None
        with self._connection.cursor() as cursor:
            cursor.execute(sql, given)
            rows = cursor.fetchall() if cursor.description else []
            return Result([tuple(row) for row in rows], cursor.rowcount)
