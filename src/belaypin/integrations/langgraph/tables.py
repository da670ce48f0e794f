"""The tables of LangGraph's checkpoints, and every statement on them."""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = ["Statements", "lock_of"]

# A value of a channel is stored once for each thread, under a digest of itself: a checkpoint names
# its values, so channels that did not change cost it nothing, and forks can't mix theirs up.
TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS belaypin_langgraph_checkpoint (
        thread_id TEXT NOT NULL,
        ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        parent_id TEXT,
        run_id TEXT,
        channels TEXT NOT NULL,
        metadata BLOB NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (thread_id, ns, checkpoint_id)
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS belaypin_langgraph_checkpoint_newest
    ON belaypin_langgraph_checkpoint (checkpoint_id)
    """,
    """
    CREATE INDEX IF NOT EXISTS belaypin_langgraph_checkpoint_run
    ON belaypin_langgraph_checkpoint (run_id)
    """,
    """
    CREATE TABLE IF NOT EXISTS belaypin_langgraph_value (
        thread_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (thread_id, digest)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS belaypin_langgraph_write (
        thread_id TEXT NOT NULL,
        ns TEXT NOT NULL,
        checkpoint_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        idx INTEGER NOT NULL,
        task_path TEXT NOT NULL,
        channel TEXT NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (thread_id, ns, checkpoint_id, task_id, idx)
    )
    """,
)

# Who stores a checkpoint shares the thread with others who do, but not with one who deletes: he
# could take a value away that a checkpoint on its way names. SQLite has one writer anyway.
SHARE: Final = {"sqlite": "SELECT 1", "postgres": "SELECT pg_advisory_xact_lock_shared(:lock)"}
LOCK: Final = {"sqlite": "SELECT 1", "postgres": "SELECT pg_advisory_xact_lock(:lock)"}

CHANNELS: Final = """
    SELECT channels FROM belaypin_langgraph_checkpoint
    WHERE thread_id = :thread_id AND ns = :ns AND checkpoint_id = :parent_id
"""
ADD_VALUE: Final = """
    INSERT INTO belaypin_langgraph_value (thread_id, digest, payload)
    VALUES (:thread_id, :digest, :payload)
    ON CONFLICT (thread_id, digest) DO NOTHING
"""
PUT: Final = """
    INSERT INTO belaypin_langgraph_checkpoint
        (thread_id, ns, checkpoint_id, parent_id, run_id, channels, metadata, payload)
    VALUES (:thread_id, :ns, :checkpoint_id, :parent_id, :run_id, :channels, :metadata, :payload)
    ON CONFLICT (thread_id, ns, checkpoint_id) DO UPDATE
    SET parent_id = EXCLUDED.parent_id, run_id = EXCLUDED.run_id, channels = EXCLUDED.channels,
        metadata = EXCLUDED.metadata, payload = EXCLUDED.payload
"""
# A task that runs again after a crash repeats its writes: the first ones stand, as other tasks may
# have seen them. Errors, interrupts and resumes (below zero) are the newest.
ADD_WRITE: Final = """
    INSERT INTO belaypin_langgraph_write
        (thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, payload)
    VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :idx, :task_path, :channel, :payload)
    ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO UPDATE
    SET task_path = EXCLUDED.task_path, channel = EXCLUDED.channel, payload = EXCLUDED.payload
    WHERE belaypin_langgraph_write.idx < 0
"""

_COLUMNS: Final = "thread_id, ns, checkpoint_id, parent_id, channels, metadata, payload"
GET: Final = """
    SELECT {columns} FROM belaypin_langgraph_checkpoint
    WHERE thread_id = :thread_id AND ns = :ns AND checkpoint_id = :checkpoint_id
""".replace("{columns}", _COLUMNS)
NEWEST: Final = """
    SELECT {columns} FROM belaypin_langgraph_checkpoint
    WHERE thread_id = :thread_id AND ns = :ns
    ORDER BY checkpoint_id DESC
    LIMIT 1
""".replace("{columns}", _COLUMNS)
_LIST: Final = """
    SELECT {columns} FROM belaypin_langgraph_checkpoint
    WHERE {conditions}
    ORDER BY checkpoint_id DESC, thread_id DESC, ns DESC
    LIMIT :page
""".replace("{columns}", _COLUMNS)
CONDITIONS: Final = {
    "thread_id": "thread_id = :thread_id",
    "ns": "ns = :ns",
    "checkpoint_id": "checkpoint_id = :checkpoint_id",
    "run_id": "run_id = :run_id",
    "before": "checkpoint_id < :before",
    "after_id": "(checkpoint_id, thread_id, ns) < (:after_id, :after_thread, :after_ns)",
}
VALUES: Final = """
    SELECT digest, payload FROM belaypin_langgraph_value
    WHERE thread_id = :thread_id AND digest IN ({each} :digests)
"""
WRITES: Final = """
    SELECT ns, checkpoint_id, task_id, channel, payload FROM belaypin_langgraph_write
    WHERE thread_id = :thread_id AND checkpoint_id IN ({each} :checkpoints)
    ORDER BY ns, checkpoint_id, task_path, task_id, idx
"""

DELETE_THREAD: Final = (
    "DELETE FROM belaypin_langgraph_checkpoint WHERE thread_id = :thread_id",
    "DELETE FROM belaypin_langgraph_write WHERE thread_id = :thread_id",
    "DELETE FROM belaypin_langgraph_value WHERE thread_id = :thread_id",
)
DELETE: Final = (
    """
    DELETE FROM belaypin_langgraph_checkpoint
    WHERE thread_id = :thread_id AND ns = :ns AND checkpoint_id = :checkpoint_id
    """,
    """
    DELETE FROM belaypin_langgraph_write
    WHERE thread_id = :thread_id AND ns = :ns AND checkpoint_id = :checkpoint_id
    """,
)
OF_THREAD: Final = """
    SELECT ns, checkpoint_id, parent_id, run_id, channels, metadata
    FROM belaypin_langgraph_checkpoint
    WHERE thread_id = :thread_id
    ORDER BY ns, checkpoint_id DESC
"""
DIGESTS: Final = "SELECT digest FROM belaypin_langgraph_value WHERE thread_id = :thread_id"
DROP_VALUE: Final = (
    "DELETE FROM belaypin_langgraph_value WHERE thread_id = :thread_id AND digest = :digest"
)
THREADS_OF_RUNS: Final = """
    SELECT DISTINCT thread_id FROM belaypin_langgraph_checkpoint
    WHERE run_id IN ({each} :run_ids)
"""
COPY: Final = (
    """
    INSERT INTO belaypin_langgraph_value (thread_id, digest, payload)
    SELECT :target, digest, payload FROM belaypin_langgraph_value
    WHERE thread_id = :source
    ON CONFLICT (thread_id, digest) DO NOTHING
    """,
    """
    INSERT INTO belaypin_langgraph_write
        (thread_id, ns, checkpoint_id, task_id, idx, task_path, channel, payload)
    SELECT :target, ns, checkpoint_id, task_id, idx, task_path, channel, payload
    FROM belaypin_langgraph_write
    WHERE thread_id = :source
    ON CONFLICT (thread_id, ns, checkpoint_id, task_id, idx) DO NOTHING
    """,
    """
    INSERT INTO belaypin_langgraph_checkpoint
        (thread_id, ns, checkpoint_id, parent_id, run_id, channels, metadata, payload)
    SELECT :target, ns, checkpoint_id, parent_id, run_id, channels, metadata, payload
    FROM belaypin_langgraph_checkpoint
    WHERE thread_id = :source
    ON CONFLICT (thread_id, ns, checkpoint_id) DO NOTHING
    """,
)

# {each}: the texts of a JSON array, a row each.
_EACH: Final = re.compile(r"\{each\} (:\w+)")
_EACH_IN: Final = {
    "sqlite": r"SELECT value FROM json_each(\1)",
    "postgres": r"SELECT jsonb_array_elements_text(CAST(\1 AS JSONB))",
}
_PARAMETER: Final = re.compile(r":(\w+)")


class Statements:
    """The statements as the database's driver takes them, with parameters by name."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self.tables = tuple(self._typed(text) for text in TABLES)
        self.share = self(SHARE[dialect])
        self.lock = self(LOCK[dialect])

    def __call__(self, text: str) -> str:
        text = _EACH.sub(_EACH_IN[self._dialect], text)
        return text if self._dialect == "sqlite" else _PARAMETER.sub(r"%(\1)s", text)

    def listing(self, names: list[str]) -> str:
        """The newest checkpoints that fulfil these of the ``CONDITIONS``."""
        conditions = " AND ".join(CONDITIONS[name] for name in names) or "TRUE"
        return self(_LIST.replace("{conditions}", conditions))

    def _typed(self, text: str) -> str:
        if self._dialect == "sqlite":
            return text
        # Ids are compared by their bytes, as Python and SQLite do.
        return text.replace(" TEXT", ' TEXT COLLATE "C"').replace(" BLOB", " BYTEA")


def lock_of(thread_id: str) -> int:
    """The number of a thread's advisory lock."""
    digest = hashlib.sha256(b"belaypin.langgraph\0" + thread_id.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
