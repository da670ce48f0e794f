"""Kill a pipeline with SIGKILL, again and again, and let it resume until it is done.

The pipeline is a script of yours, run as a process of its own. It has to write something to its
standard output right after each commit that held anything new: so it is known from the outside when
a process that was started again got its first new work done. When it has ended by itself, your
verifier looks at what it left; then comes the next round, on a fresh store.

    def fresh():                                    # an empty store, and what runs on it
        path = folder / f"{next(numbers)}.db"
        return [Script("mine.py", (f"sqlite:///{path}",))]

    report = campaign(fresh, verify, at_random=100, at_lines=500, at_statements=100)
    print(report)

Four kinds of places to die: at a random time (in a new process each, whose time from its start to
its first new commit is measured), at a random line of the given modules, before a random statement
of a store from ``belaypin.open``, and before and behind each of its commits in turn (the last three
in children forked from a warm process, which is ten times cheaper). For that the script must do its
work under ``if __name__ == "__main__"``, and the system must be able to fork.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random  # noqa: TID251 -- kills fall by chance; the seed is an argument
from typing import ClassVar, NamedTuple, Protocol

from belaypin.testing._processes import Kill, Kind, Nursery, Script, ScriptFailed, Spawner

__all__ = ["Report", "Script", "ScriptFailed", "Verdict", "campaign", "every_line"]

_AT_START_UP = 0.25
"""The share of random kills between the start of a process and its first new commit."""
_COMMITS_MAX = 6
_LINES = (30, 30_000)
_STATEMENTS = (1, 80)


class Verdict(NamedTuple):
    """What a verifier found: rows that are missing, and rows that are there too often."""

    lost: int
    doubled: int


@dataclass
class Report:
    """What happened: kills by kind, what was lost and doubled, how fast work was resumed."""

    kills: Counter[Kind] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    """Where the kills fell that fell at a line or before a statement."""
    rounds: int = 0
    lost: int = 0
    doubled: int = 0
    first_commit_s: list[float] = field(default_factory=list)
    """From the start of a process to its first new commit, for each that was not killed before."""

    HEADINGS: ClassVar[tuple[str, ...]] = (
        "kills",
        "at a random time",
        "at a line",
        "before a statement",
        "around a commit",
        "rounds",
        "lost",
        "doubled",
        "starts timed",
        "p50 to first new commit",
        "p99",
    )

    def percentile_s(self, percent: float) -> float:
        """Nearest-rank percentile of ``first_commit_s``; NaN if there is none."""
        ordered = sorted(self.first_commit_s)
        return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else math.nan

    def add(self, other: Report) -> None:
        """Take in what another campaign found."""
        self.kills += other.kills
        self.places += other.places
        self.rounds += other.rounds
        self.lost += other.lost
        self.doubled += other.doubled
        self.first_commit_s += other.first_commit_s

    def row(self) -> list[str]:
        """The cells of one line of a table, as ``HEADINGS`` names them."""
        kills = self.kills
        lines = kills["line"] + kills["new line"]
        kinds = (kills["random time"], lines, kills["statement"], kills["commit"])
        found = (self.rounds, self.lost, self.doubled, len(self.first_commit_s))
        times = (f"{self.percentile_s(p):.3f} s" if self.first_commit_s else "-" for p in (50, 99))
        return [*map(str, (kills.total(), *kinds, *found)), *times]

    def __str__(self) -> str:
        return ", ".join(f"{h}: {c}" for h, c in zip(self.HEADINGS, self.row(), strict=True))


def campaign(
    fresh: Callable[[], Sequence[Script]],
    verify: Callable[[], Verdict],
    *,
    at_random: int = 0,
    at_lines: int = 0,
    at_statements: int = 0,
    at_commits: int = 0,
    modules: Sequence[str] = ("belaypin",),
    seed: int = 0,
    timeout_s: float = 120.0,
    on_kill: Callable[[Report], None] | None = None,
) -> Report:
    """Kill so many times in all, over as many rounds as it takes.

    ``fresh`` makes an empty store and tells what runs on it: several scripts run at the same time.
    ``verify`` is called when all of them have ended by themselves. ``modules`` are those at whose
    lines to kill. ``timeout_s``: how long one process may take. ``on_kill`` is called after each kill,
    with the report as it stands.

    Raises ScriptFailed, and whatever ``verify`` raises.
    """
    left: dict[Kind, int] = {
        "random time": at_random,
        "line": at_lines,
        "statement": at_statements,
        "commit": at_commits,
    }
    budget = _Budget(left, Random(seed), modules, on_kill)
    return _rounds(fresh, verify, budget, timeout_s)


def every_line(
    fresh: Callable[[], Sequence[Script]],
    verify: Callable[[], Verdict],
    *,
    modules: Sequence[str] = ("belaypin",),
    timeout_s: float = 120.0,
) -> Report:
    """Kill once at every line of the modules that the script comes to; ``places`` has them all.

    The first line that is new kills the process; the next one goes on from there, in one round.
    """
    return _rounds(fresh, verify, _EachLine(modules), timeout_s)


def _rounds(
    fresh: Callable[[], Sequence[Script]],
    verify: Callable[[], Verdict],
    kills: _Kills,
    timeout_s: float,
) -> Report:
    report = Report()
    with ExitStack() as stack:
        nurseries: list[Nursery] = []
        while kills.are_left:
            scripts = fresh()
            nurseries += [
                stack.enter_context(Nursery.open(script, timeout_s))
                for script in scripts[len(nurseries) :]
            ]
            runs = [
                _Run(script, nursery, kills, report, timeout_s)
                for script, nursery in zip(scripts, nurseries, strict=False)
            ]
            _side_by_side([run.to_its_end for run in runs])
            verdict = verify()
            report.rounds += 1
            report.lost += verdict.lost
            report.doubled += verdict.doubled
    return report


def _side_by_side(works: Sequence[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- raised again below, in our own thread
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works[1:]]
    for thread in threads:
        thread.start()
    guarded(works[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class _Run:
    """One script, killed until it ends by itself."""

    def __init__(
        self, script: Script, nursery: Nursery, kills: _Kills, report: Report, timeout_s: float
    ) -> None:
        self._script = script
        self._nursery = nursery
        self._kills = kills
        self._report = report
        # The list is shared by the scripts of a round; appending to one is atomic.
        self._spawner = Spawner(script, timeout_s, report.first_commit_s.append)

    def to_its_end(self) -> None:
        while (kill := self._kills.draw()) is not None:
            place: str | None = None
            if kill.kind == "random time":
                is_killed = self._spawner.run(kill)
            else:
                place = self._nursery.run(self._script, kill)
                is_killed = place is not None
            self._kills.settle(kill, place, self._report, is_killed=is_killed)
            if not is_killed:
                return
        self._spawner.run(None)


# --- where to kill ------------------------------------------------------------------------------


class _Kills(Protocol):
    """What is still to be killed; asked by several threads at once."""

    @property
    def are_left(self) -> bool:
        """Whether another round is needed."""

    def draw(self) -> Kill | None:
        """What the next process is to die of; None: let it live."""

    def settle(self, kill: Kill, place: str | None, report: Report, *, is_killed: bool) -> None:
        """Tell whether it did, and where; else it had ended before."""


class _Budget:
    """So many kills of each kind, drawn at random; given back if they did not fall."""

    def __init__(
        self,
        left: dict[Kind, int],
        chance: Random,
        modules: Sequence[str],
        on_kill: Callable[[Report], None] | None,
    ) -> None:
        self._on_kill = on_kill
        self._next_commit = 0
        self._left = left
        self._chance = chance
        self._modules = modules
        self._lock = threading.Lock()

    @property
    def are_left(self) -> bool:
        return any(self._left.values())

    def draw(self) -> Kill | None:
        with self._lock:
            kinds = [kind for kind, number in self._left.items() if number]
            if not kinds:
                return None
            kind = self._chance.choices(kinds, [self._left[k] for k in kinds])[0]
            self._left[kind] -= 1
            return self._at_random_place(kind)

    def settle(self, kill: Kill, place: str | None, report: Report, *, is_killed: bool) -> None:
        with self._lock:
            if not is_killed:
                self._left[kill.kind] += 1
                self._next_commit = 0  # it had fewer commits: begin again with the first
                return
            report.kills[kill.kind] += 1
            if place is not None:
                report.places[place] += 1
            if self._on_kill is not None:
                self._on_kill(report)

    def _at_random_place(self, kind: Kind) -> Kill:
        chance = self._chance
        if kind == "commit":
            self._next_commit += 1
            return Kill(kind, self._next_commit)
        if kind == "statement":
            return Kill(kind, chance.randint(*_STATEMENTS))
        if kind == "line":
            # As many at the first hundred lines as at the next thousand.
            low, high = map(math.log, _LINES)
            return Kill(kind, int(math.exp(chance.uniform(low, high))), modules=self._modules)
        is_early = chance.random() < _AT_START_UP
        return Kill(kind, 0 if is_early else chance.randint(1, _COMMITS_MAX), chance.random())


class _EachLine:
    """Each line once: a process dies at the first that none has died at."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._died_at: set[str] = set()
        self._lock = threading.Lock()
        self.are_left = True

    def draw(self) -> Kill | None:
        with self._lock:
            return Kill("new line", modules=self._modules, spared=sorted(self._died_at))

    def settle(self, kill: Kill, place: str | None, report: Report, *, is_killed: bool) -> None:
        with self._lock:
            self.are_left = False
            if place is not None and is_killed:
                self._died_at.add(place)
                report.kills[kill.kind] += 1
                report.places[place] += 1
