"""A site to mine, its miners, and the verifier that looks at what they left, from the outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import belaypin
from belaypin.testing.sigkill import Script, Verdict
from tests.crash.full_miner import TOTALS
from tests.crash.miner import PIPELINE
from tests.crash.outside import Outside, own_table
from tests.crash.source import everything, find_dump, publish

__all__ = ["FULL_MINER", "MINER", "Mine"]

MINER = Path(__file__).with_name("miner.py")
FULL_MINER = Path(__file__).with_name("full_miner.py")
TABLES = {
    "items": "entity TEXT, stream TEXT, id BIGINT, role TEXT, token BIGINT",
    "profiles": "entity TEXT, items BIGINT",
    "greetings": "entity TEXT",
}


class Mine:
    """Rounds of mining, each on a fresh store: an SQLite file, or a PostgreSQL database emptied."""

    def __init__(
        self,
        folder: Path,
        postgres_url: str | None = None,
        *,
        roles: Sequence[str] = ("main",),
        entities: int = 8,
        share: int = 1,
        page_size: int = 50,
        ttl_s: float = 30,
        miner: Path = MINER,
    ) -> None:
        self.dump = find_dump()
        self.index = folder / "source.db"
        self.items = publish(self.dump, self.index, entities=entities, share=share)
        self.url = ""
        self._postgres_url = postgres_url
        self._folder = folder
        self._roles = roles
        self._page_size = page_size
        self._ttl_s = ttl_s
        self._miner = miner
        self._rounds = count(1)
        self._acknowledged = Path()

    def fresh(self) -> list[Script]:
        """An empty store, and the scripts that mine into it side by side."""
        number = next(self._rounds)
        self.url = self._postgres_url or f"sqlite:///{self._folder / f'{number}.db'}"
        self._acknowledged = self._folder / f"{number}.acknowledged"
        with closing(Outside(self.url)) as outside:
            if self._postgres_url:
                outside.run("DROP SCHEMA public CASCADE")
                outside.run("CREATE SCHEMA public")
            for table, columns in TABLES.items():
                outside.run(own_table(table, columns, is_sqlite=outside.is_sqlite))
        return [self.script(role) for role in self._roles]

    def script(self, role: str) -> Script:
        """One miner."""
        numbers = (str(self._page_size), str(self._ttl_s))
        paths = (str(self.index), str(self._acknowledged))
        return Script(self._miner, (self.url, *paths, role.partition(" ")[0], *numbers))

    def verify(self) -> Verdict:
        """Count what is lost and doubled; raise if anything else is wrong."""
        with closing(Outside(self.url)) as outside:
            rows = Counter(outside.run("SELECT entity, stream, id FROM items"))
            once = Counter(outside.run("SELECT 'profile', entity FROM profiles"))
            once += Counter(outside.run("SELECT 'greeting', entity FROM greetings"))
            _check_ledger(outside, rows)
            _check_tokens(outside)
        self._check_acknowledged(rows)
        if self._miner == FULL_MINER:
            self._check_all_else(rows)
        expected = everything(self.index)
        entities = {entity for entity, _, _ in expected}
        wanted = {(what, entity) for what in ("profile", "greeting") for entity in entities}
        strange = rows.keys() - expected
        assert not strange, f"never in the source: {sorted(strange)[:5]}"
        lost = len(expected - rows.keys()) + len(wanted - once.keys())
        doubled = (rows.total() - len(rows)) + (once.total() - len(once))
        return Verdict(lost, doubled)

    def _check_acknowledged(self, rows: Counter[tuple[str, str, int]]) -> None:
        """What was acknowledged is there, and nothing was acknowledged twice."""
        if not self._acknowledged.exists():
            return
        told = Counter(self._acknowledged.read_text().splitlines())
        there = {f"{stream} {item}" for _, stream, item in rows}
        assert told.keys() <= there, f"acknowledged, but gone: {sorted(told.keys() - there)[:5]}"
        twice = [line for line, times in told.items() if times > 1]
        assert not twice, f"acknowledged twice: {twice[:5]}"

    def _check_all_else(self, rows: Counter[tuple[str, str, int]]) -> None:
        """Components counted what was committed, messages arrived, and the store is sound."""
        with belaypin.open(self.url) as store:
            for entity in {entity for entity, _, _ in rows}:
                there = Counter(stream for at, stream, _ in rows.elements() if at == entity)
                totals = store.load((PIPELINE, entity, TOTALS), dict)
                assert totals is not None
                assert totals.state == there, f"{totals.state} of {there}"
                assert [s.name for s in store.savepoints((PIPELINE, entity))] == ["finished"]
            assert store.failures() == []
            assert store.undelivered() == []
            report = store.verify()
            assert report.ok, str(report)
        with closing(Outside(self.url)) as outside:
            sent = {key for (key,) in outside.run("SELECT message_key FROM belaypin_outbox")}
        told = set(Path(f"{self._acknowledged}.delivered").read_text().splitlines())
        assert sent == told, f"never delivered: {sorted(sent - told)[:5]}"


def _check_ledger(outside: Outside, rows: Counter[tuple[str, str, int]]) -> None:
    """Two more ways to count the committed items, per stream."""
    there = Counter((entity, stream) for entity, stream, _ in rows.elements())
    query = "SELECT entity, stream, items FROM belaypin_checkpoint WHERE stream <> '' AND items > 0"
    counted = {(entity, stream): items for entity, stream, items in outside.run(query)}
    query = """
        SELECT c.entity, c.stream, sum(s.items) FROM belaypin_segment AS s
        JOIN belaypin_checkpoint AS c ON c.key_id = s.key_id GROUP BY c.entity, c.stream
    """
    packed = {(entity, stream): int(items) for entity, stream, items in outside.run(query)}
    assert counted == packed == there, f"counted {counted}, packed {packed}, there {there}"


def _check_tokens(outside: Outside) -> None:
    """In the order of insertion, the tokens of a role never fall: no stale write came through."""
    newest: dict[tuple[str, str], int] = {}
    for entity, role, token in outside.run("SELECT entity, role, token FROM items ORDER BY n"):
        assert token >= newest.get((entity, role), 0), f"a stale write of {role} at {entity}"
        newest[entity, role] = token
    query = (
        "SELECT c.entity, l.role, l.token FROM belaypin_lease AS l JOIN belaypin_checkpoint AS c"
    )
    for entity, role, token in outside.run(f"{query} ON c.key_id = l.key_id"):
        assert token >= newest.get((entity, role), 0), f"the token of {entity} fell back"
