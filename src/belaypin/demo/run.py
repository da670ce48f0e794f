"""The main job, from the repository to the verdict."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom  # noqa: TID251  # kills fall by chance
from typing import Protocol

from .errors import CannotRun
from .git import Git, locate
from .killer import Killer
from .outside import check_url, sqlite_url
from .proof import Proof, Tally, sum_up
from .sample import make_repository
from .source import Source
from .survey import survey

__all__ = ["Options", "Outcome", "Watcher", "prove"]

_STORE_NAME = "belaypin-demo.db"
_SAMPLE_NAME = "belaypin-demo.git"
_MAX_PAGE = 500
_PAGES_PER_KILL = 40


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to mine, where to, and how hard to make it.

    ``repo`` None is the repository around the current folder; ``store`` None is a file in its git
    folder, which ``fresh`` deletes first; ``seed`` draws the moments of the kills.
    """

    repo: Path | None = None
    store: str | None = None
    kills: int = 5
    seed: int | None = None
    page_size: int | None = None
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was proven."""

    repo: Path
    store: str
    tallies: tuple[Tally, ...]
    kills: int
    recoveries_s: tuple[float, ...]
    seed: int

    @property
    def total(self) -> Tally:
        """All streams together."""
        return sum_up(self.tallies)

    @property
    def proven(self) -> bool:
        """Nothing was lost, nothing was doubled."""
        return not (self.total.lost or self.total.duplicates)


class Watcher(Protocol):
    """Whoever is told how far the demo is."""

    def phase(self, name: str, steps: int | None) -> None:
        """Begin something new that has so many steps, if that is known."""

    def advance(self, steps: int) -> None:
        """Count steps of this phase."""

    def killed(self, kills: int) -> None:
        """Count the kills so far."""

    def note(self, text: str) -> None:
        """Say something that stays."""


def prove(options: Options, watcher: Watcher) -> Outcome:
    """Mine a repository under kills, compare the tables with what git says, return the verdict.

    Raises:
        CannotRun: no such repository, no git, or a store that cannot be used.
        MinerFailed: the miner failed by itself, so there is nothing to judge.
    """
    git, folder = _repository(options.repo, watcher)
    store = _store(options, folder)
    seed = SystemRandom().getrandbits(32) if options.seed is None else options.seed
    with _scratch_folder() as scratch:
        tips, source = scratch / "tips", scratch / "source.db"
        watcher.phase("Reading the history", None)
        git.tips(tips)
        survey(source, git, tips, watcher.advance)
        with closing(Proof(scratch / "proof.db", store)) as proof:
            proof.remember()
            new = proof.new_items(source)
            watcher.phase("Mining", new)
            killer = _mine(source, store, new, options, Random(seed), watcher)
            watcher.phase("Asking git what should be there", None)
            tallies = tuple(proof.tallies(git, tips))
    return Outcome(
        repo=git.git_dir,
        store=store,
        tallies=tallies,
        kills=killer.kills,
        recoveries_s=tuple(killer.recoveries_s),
        seed=seed,
    )


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="belaypin-demo-") as folder:
        try:
            yield Path(folder)
        except sqlite3.Error as error:  # those of the store have another name by now
            raise CannotRun(f"the scratch files in {folder} cannot be used: {error}") from error


def _repository(path: Path | None, watcher: Watcher) -> tuple[Git, Path]:
    found = locate(path)
    if found:
        return found
    sample = Path.cwd() / _SAMPLE_NAME
    if sample.exists():
        watcher.note(f"This folder is in no git repository. Here is the one made before: {sample}")
    else:
        _check_writable(sample.parent, "use --repo PATH")
        make_repository(sample)
        watcher.note(f"This folder is in no git repository. A small one was made: {sample}")
    found = locate(sample)
    assert found, "an explicit path is found or raises"
    return found


def _store(options: Options, folder: Path) -> str:
    if options.store:
        if options.fresh:
            raise CannotRun("--fresh deletes the demo's own store only: empty yours by yourself")
        check_url(options.store)
        return options.store
    _check_writable(folder, "use --store sqlite:///demo.db")
    if options.fresh:
        for file in folder.glob(f"{_STORE_NAME}*"):
            file.unlink()
    return sqlite_url(folder / _STORE_NAME)


def _check_writable(folder: Path, advice: str) -> None:
    if not os.access(folder, os.W_OK):
        raise CannotRun(f"the folder {folder} cannot be written to: {advice}")


def _mine(
    source: Path, store: str, new: int, options: Options, chance: Random, watcher: Watcher
) -> Killer:
    kills = options.kills if new else 0
    page_size = options.page_size or _page_size(new, kills)
    with closing(Source(source)) as opened:
        items, pages = opened.count(page_size)
    killer = Killer(
        command=_miner(source, store, page_size),
        chance=chance,
        on_commit=watcher.advance,
        on_kill=watcher.killed,
    )
    killer.run(kills, pages * new // max(items, 1))
    return killer


def _page_size(new: int, kills: int) -> int:
    """Small enough for several pages per kill."""
    return min(max(new // (_PAGES_PER_KILL * max(kills, 1)), 1), _MAX_PAGE)


def _miner(source: Path, store: str, page_size: int) -> list[str]:
    # -P: a file named like a module in the current folder, which may be anybody's, stays a file.
    python = [sys.executable, "-P", "-m"]
    return [*python, "belaypin.demo.miner", str(source), store, str(page_size)]
