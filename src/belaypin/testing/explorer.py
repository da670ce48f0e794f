"""The explorer: runs workers through every interleaving, and crashes them before every statement.

Each worker runs in a thread of its own, on real connections to a real database, and is stopped
before every statement. A scheduler lets one of them take one step at a time. When all have ended,
``Stage.check`` looks at what they left, and the next order is tried, depth first, until none is
left. A failure is raised with the order that led to it.

On SQLite a writer holds the whole file, so workers change places between transactions; on
PostgreSQL between statements, and a worker that waits for a row is left waiting while the others go
on. Orders that no statement can tell apart are run once (see ``footprints``). A worker that is
crashed loses its connection and never runs another line: its open transaction is undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random  # noqa: TID251 -- orders are drawn by chance; the seed is an argument
from typing import NamedTuple

from belaypin.clock import Clock
from belaypin.errors import UsageError
from belaypin.testing._stagehand import Company, Player
from belaypin.testing.footprints import may_notice

__all__ = ["Explored", "InterleavingFailure", "Player", "Stage", "explore"]


_CRASH_RATE = 0.1


class Stage(NamedTuple):
    """What one run of the workers works on, made anew for every run."""

    workers: Mapping[str, Callable[[Player], None]]
    """By name. Each gets its own store; an exception that it lets escape is a failure."""
    check: Callable[[], None]
    """Raises if what the workers left is wrong. Crashed workers have left whatever they left."""


class Explored(NamedTuple):
    """How much was run."""

    orders: int
    """Orders of steps that were run to the end and checked."""
    steps: int
    crashes: int
    """Orders in which a worker was crashed."""
    waits: int
    """Orders in which a worker had to wait for a row."""
    is_complete: bool
    """Whether these are all there are; else they are a sample."""

    def __str__(self) -> str:
        kind = "all" if self.is_complete else "a sample of"
        return (
            f"{kind} {self.orders} interleavings ({self.steps} steps; {self.crashes} with a crash, "
            f"{self.waits} with a wait for a row)"
        )


class InterleavingFailure(AssertionError):
    """An order of steps that ends in a wrong state, an error, or a deadlock; the message lists it."""


class _Choice(NamedTuple):
    worker: str
    step: str
    is_crash: bool

    def __str__(self) -> str:
        return f"{self.step} -- CRASH" if self.is_crash else self.step


class _Node:
    """A moment at which more than one thing could happen next."""

    def __init__(self, choices: list[_Choice], asleep: frozenset[str]) -> None:
        self.choices = choices
        self.asleep = asleep
        """Workers whose next step was tried at an earlier node, and nothing since could notice it."""
        self.index = 0

    @property
    def tried(self) -> frozenset[str]:
        return self.asleep | {c.worker for c in self.choices[: self.index] if not c.is_crash}


def explore(
    url: str,
    make_stage: Callable[[], Stage],
    *,
    clock: Clock | None = None,
    crashes: int = 0,
    sample: int | None = None,
    seed: int = 0,
    reduce: bool = True,
) -> Explored:
    """Run the workers of a stage in every order, with up to ``crashes`` of them crashed in each.

    ``url`` is the store that every worker opens; it must exist (see ``belaypin.open``) unless a
    stage is about making it. ``clock`` is pinned for all of them: let workers and checks advance it.
    ``sample``: run only so many orders, drawn at random by ``seed``, where all would be too many.
    ``reduce=False`` runs also those orders that nobody can tell apart.

    Workers must not wait in ways of their own (``wait_s``, sleep), nor depend on chance: the same
    steps in the same order have to lead to the same statements.

    Raises InterleavingFailure.

    >>> import tempfile, belaypin
    >>> folder = tempfile.TemporaryDirectory()
    >>> url = f"sqlite:///{folder.name}/store.db"
    >>> store = belaypin.open(url)
    >>> def make_stage():
    ...     before = store.save("counter", {})
    ...     def check():
    ...         assert store.load("counter").version == before + 2
    ...     def work(player):
    ...         player.store.save("counter", {"by": player.name})
    ...     return Stage({"A": work, "B": work}, check)
    >>> explore(url, make_stage).orders
    2
    >>> store.close()
    >>> folder.cleanup()
    """
    with Company(url, clock) as company:
        if sample is not None:
            draw = _Search(company, crashes, reduce=False, chance=Random(seed))
            for _ in range(sample):
                draw.run(make_stage())
            return draw.explored(is_complete=False)
        search = _Search(company, crashes, reduce=reduce)
        is_left = True
        while is_left:
            search.run(make_stage())
            is_left = search.advance()
        return search.explored(is_complete=True)


class _Search:
    """Depth-first search by replay: the path is replayed, its last choice changed, run to the end.

    With ``chance``, a walk that chooses at random and remembers nothing.
    """

    def __init__(
        self, company: Company, crashes: int, *, reduce: bool, chance: Random | None = None
    ) -> None:
        self.orders = 0
        self._company = company
        self._crashes = crashes
        self._reduce = reduce
        self._chance = chance
        self._path: list[_Node] = []
        self._steps = self._crashed = self._waited = 0

    def explored(self, *, is_complete: bool) -> Explored:
        return Explored(self.orders, self._steps, self._crashed, self._waited, is_complete)

    def advance(self) -> bool:
        """Turn to the next order; False if there is none."""
        while self._path:
            node = self._path[-1]
            node.index += 1
            if node.index < len(node.choices):
                return True
            self._path.pop()
        return False

    def run(self, stage: Stage) -> None:
        """Run one order to its end and check what it left."""
        company = self._company
        company.enter(stage.workers)
        try:
            is_new = self._play()
            if is_new:
                company.raise_errors()
                stage.check()
        except Exception as error:
            order = "\n".join(f"  {i}. {step}" for i, step in enumerate(company.steps, 1))
            raise InterleavingFailure(
                f"{type(error).__name__}: {error}\nin the {self.orders + 1}. order:\n{order}"
            ) from error
        finally:
            company.leave()
        self._steps += len(company.steps)
        if is_new:
            self.orders += 1
            self._crashed += company.crashes > 0
            self._waited += company.has_waited

    def _play(self) -> bool:
        """Take step after step; False if every way to go on leads to an order that was run."""
        company = self._company
        asleep: frozenset[str] = frozenset()
        depth = 0
        while company.is_busy:
            node = self._node(depth, asleep)
            if node is None:
                return False
            depth += 1
            choice = node.choices[node.index]
            asleep = self._still_asleep(node, choice)
            if choice.is_crash:
                company.crash(choice.worker)
            else:
                company.step(choice.worker)
        return True

    def _node(self, depth: int, asleep: frozenset[str]) -> _Node | None:
        ready = self._company.ready()
        if not ready:
            raise InterleavingFailure(f"deadlock: {self._company.describe_waits()}")
        steps = {name: self._company.describe(name) for name in ready}
        choices = [_Choice(name, steps[name], False) for name in ready if name not in asleep]
        if self._company.crashes < self._crashes:
            choices += [_Choice(name, steps[name], True) for name in ready]
        if self._chance is not None:
            return self._drawn(choices, self._chance)
        if depth == len(self._path):
            if not choices:
                return None
            self._path.append(_Node(choices, asleep))
        node = self._path[depth]
        if node.choices != choices:
            raise UsageError(
                f"The workers are not deterministic: after the same steps they could go on as "
                f"{[*map(str, node.choices)]} before, and as {[*map(str, choices)]} now."
            )
        return node

    def _drawn(self, choices: list[_Choice], chance: Random) -> _Node:
        """One of the choices; a crash is drawn about once in an order that has time for it."""
        crashes = [choice for choice in choices if choice.is_crash]
        if crashes and chance.random() < _CRASH_RATE:
            return _Node([chance.choice(crashes)], frozenset())
        return _Node([chance.choice([c for c in choices if not c.is_crash])], frozenset())

    def _still_asleep(self, node: _Node, choice: _Choice) -> frozenset[str]:
        if choice.is_crash or not self._reduce:
            return frozenset()
        company = self._company
        moved = company.footprint(choice.worker)
        others = node.tried - {choice.worker}
        return frozenset(n for n in others if not may_notice(moved, company.footprint(n)))
