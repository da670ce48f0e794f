"""The drill: undisturbed runs, runs under kills, and what the comparison says."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random  # noqa: TID251  # kills fall by chance; the seed is an argument
from typing import Any

import msgspec

import belaypin
from belaypin.clock import monotonic_s
from belaypin.drill import worker
from belaypin.drill.comparing import Difference, differences, volatile
from belaypin.drill.errors import CannotDrill, NotDeterministic
from belaypin.drill.picture import Picture, take
from belaypin.drill.scratch import Scratch, open_scratch
from belaypin.pipeline import load
from belaypin.testing.sigkill import Report, Script, ScriptFailed, Verdict, campaign

__all__ = ["Options", "Outcome", "Watcher", "drill"]

Watcher = Callable[[str, int, int], Any]
"""Called with what goes on, how many kills there were, and how many there shall be."""

_SHARES = {"at_commits": 0.4, "at_random": 0.3, "at_statements": 0.2}
_SLACK_US = 60_000_000
_SHOWN = 10
_SHOWN_CHARS = 2000


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What to drill and how hard.

    ``pipeline``: its reference, ``module:attribute``. ``empty``: on an empty store instead of a
    copy of ``store``. ``ignore``: columns that differ from run to run, ``table.column``, or tables.
    """

    pipeline: str
    store: str
    kills: int = 20
    empty: bool = False
    ignore: tuple[str, ...] = ()
    engine: str = "serial"
    seed: int | None = None
    timeout_s: float = 600


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a drill found.

    ``lost`` and ``doubled`` are rows, ids and spans of the runs under kills against an undisturbed
    one; ``damaged`` counts what ``store.verify`` found in them. ``put_aside``: items that failed in
    that run too, by themselves. ``recovery_p50_s`` and
    ``recovery_p99_s`` are from the start of a process to its first commit with anything new.
    ``rate_bound``: if nothing was lost or doubled, the rate of kills that do so is at most this, at
    95 % (3 / kills); None otherwise.
    """

    pipeline: str
    kills: int
    kills_by_kind: dict[str, int]
    rounds: int
    lost: int
    doubled: int
    damaged: int
    recovery_p50_s: float | None
    recovery_p99_s: float | None
    recoveries: int
    rate_bound: float | None
    tables: dict[str, int]
    put_aside: int
    not_compared: tuple[str, ...]
    differences: tuple[Difference, ...]
    commits: int
    undisturbed_s: float
    seed: int
    at_store: str

    @property
    def is_proven(self) -> bool:
        """Nothing was lost, doubled or damaged."""
        return not (self.lost or self.doubled or self.damaged)

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values, and ``is_proven``."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "is_proven": self.is_proven}


def drill(options: Options, watcher: Watcher) -> Outcome:
    """Run the pipeline on copies of its store, undisturbed and under kills, and compare.

    Raises CannotDrill: no copy can be made, the pipeline fails by itself or has nothing to do;
    NotDeterministic: two undisturbed runs differ. UsageError: no such pipeline.
    """
    pipeline = load(options.pipeline)
    pipeline.check()
    seed = Random().getrandbits(32) if options.seed is None else options.seed
    with open_scratch(options.store, is_empty=options.empty) as scratch:
        return _Drill(options, pipeline.name, scratch, watcher, seed).go()


class _Drill:
    def __init__(
        self, options: Options, pipeline: str, scratch: Scratch, watcher: Watcher, seed: int
    ) -> None:
        self._options = options
        self._pipeline = pipeline
        self._scratch = scratch
        self._watcher = watcher
        self._seed = seed
        self._began_s = monotonic_s()
        self._first = ""
        self._url = ""
        self._differences: list[Difference] = []
        self._damaged = 0

    def go(self) -> Outcome:
        """All of it."""
        self._watcher("Copying the store", 0, self._options.kills)
        _free_leases(self._scratch.base)
        self._watcher("Running undisturbed, twice", 0, self._options.kills)
        began_s = monotonic_s()
        with self._copy() as first:
            self._first = first
            commits = self._undisturbed(first)
            undisturbed_s = monotonic_s() - began_s
            self._expected = self._picture(first)
            self._agree()
            self._check_effect(commits, first)
            return self._outcome(self._kill(), commits.total(), undisturbed_s)

    @contextmanager
    def _copy(self) -> Iterator[str]:
        url = self._scratch.copy()
        try:
            yield url
        finally:
            self._scratch.drop(url)

    def _undisturbed(self, url: str) -> Counter[bytes]:
        """Run it to its end; returns how many commits held anything new, and what."""
        script = self._script(url)
        done = subprocess.run(
            [sys.executable, str(script.path), *script.args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=self._options.timeout_s,
            check=False,
        )
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[-_SHOWN_CHARS:]
            raise CannotDrill(f"The pipeline fails by itself, with nobody killing it:\n{said}")
        return Counter(done.stdout.splitlines(keepends=True))

    def _check_effect(self, commits: Counter[bytes], url: str) -> None:
        """Refuse to prove by a run that does nothing, or in which nothing works."""
        if not commits:
            raise CannotDrill(
                f"A run of {self._pipeline} on this copy has nothing to do, so there is nothing "
                f"to kill it over. Drill on an empty store (--empty), or when there is new data."
            )
        if not commits[worker.EFFECT]:
            with belaypin.open(url) as store:
                first = store.failures(self._pipeline, limit=1)[0]
            advice = " An empty store has only the tables that your @setup makes."
            raise CannotDrill(
                f"In a run of {self._pipeline} that nobody disturbed every item failed, so there is "
                f"nothing to be lost. The first: {first.error}."
                f"{advice if self._options.empty else ''}"
            )

    def _script(self, url: str) -> Script:
        return Script(worker.__file__, (self._options.pipeline, url, self._options.engine))

    def _picture(self, url: str) -> Picture:
        return take(url, self._pipeline, self._options.ignore)

    def _agree(self) -> None:
        """Refuse to judge by runs that differ without being killed."""
        with self._copy() as second:
            self._undisturbed(second)
            unequal = self._differences_of(second)
            columns = volatile(self._first, second, unequal)
        if not unequal:
            return
        told = "\n".join(map(str, unequal[:_SHOWN]))
        advice = "The source must return the same to every run."
        if columns:
            advice = (
                f"Pass {' '.join(f'--ignore {c}' for c in columns)} if that is as it should be."
            )
        raise NotDeterministic(
            f"Two runs of {self._pipeline} that nobody disturbed differ, so nothing can be said of "
            f"one under kills. {advice}\n{told}"
        )

    def _differences_of(self, url: str) -> list[Difference]:
        """How a database differs from that of the undisturbed run."""
        passed_us = round((monotonic_s() - self._began_s) * 1_000_000)
        urls = (self._first, url)
        return differences(self._expected, self._picture(url), urls, passed_us + _SLACK_US)

    def _kill(self) -> Report:
        kills = self._options.kills
        shares = {name: round(kills * share) for name, share in _SHARES.items()}
        self._watcher("Killing", 0, kills)
        try:
            return campaign(
                self._fresh,
                self._verify,
                **shares,
                at_lines=kills - sum(shares.values()),
                modules=("belaypin", self._options.pipeline.partition(":")[0]),
                seed=self._seed,
                timeout_s=self._options.timeout_s,
                on_kill=lambda report: self._watcher("Killing", report.kills.total(), kills),
            )
        except ScriptFailed as error:
            raise CannotDrill(f"The pipeline failed by itself after a kill: {error}") from error

    def _fresh(self) -> list[Script]:
        self._url = self._scratch.copy()
        return [self._script(self._url)]

    def _verify(self) -> Verdict:
        found = self._differences_of(self._url)
        self._differences += found
        with belaypin.open(self._url) as store:
            findings = store.verify(pipeline=self._pipeline).findings
        self._damaged += sum(finding.severity == "error" for finding in findings)
        self._scratch.drop(self._url)
        return Verdict(sum(each.lost for each in found), sum(each.doubled for each in found))

    def _outcome(self, report: Report, commits: int, undisturbed_s: float) -> Outcome:
        times = report.first_commit_s
        kills = report.kills.total()
        is_clean = not (report.lost or report.doubled or self._damaged)
        return Outcome(
            pipeline=self._pipeline,
            kills=kills,
            kills_by_kind={str(kind): number for kind, number in report.kills.items()},
            rounds=report.rounds,
            lost=report.lost,
            doubled=report.doubled,
            damaged=self._damaged,
            recovery_p50_s=report.percentile_s(50) if times else None,
            recovery_p99_s=report.percentile_s(99) if times else None,
            recoveries=len(times),
            rate_bound=3 / kills if is_clean and kills else None,
            tables={name: table.rows.total() for name, table in self._expected.tables.items()},
            put_aside=self._expected.put_aside.total(),
            not_compared=self._not_compared(),
            differences=tuple(self._differences[:_SHOWN]),
            commits=commits,
            undisturbed_s=undisturbed_s,
            seed=self._seed,
            at_store="an empty store" if self._options.empty else "a copy of the store",
        )

    def _not_compared(self) -> tuple[str, ...]:
        tables = self._expected.tables
        left_out = [f"{n}.{column}" for n, table in tables.items() for column in table.left_out]
        whole = [name for name in self._options.ignore if "." not in name and name not in tables]
        return (*sorted({*left_out, *whole}), "what the pipeline does outside this database")


def _free_leases(url: str) -> None:
    """The holders of the leases in the copy are at work in the real store."""
    with belaypin.open(url) as store:
        after: str | None = None
        while True:
            page = store.leases(limit=1000, after=after)
            for lease in page:
                store.break_lease(lease.key, role=lease.role, reason="drill")
            after = page.next
            if after is None:
                return
