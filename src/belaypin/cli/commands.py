"""The commands by what they are for: where each lives, and what the list of commands says of it.

It stands here and not beside each command, so that ``belaypin --help`` loads none of them.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["COMMANDS", "SECTIONS", "Command"]


class Command(NamedTuple):
    """A command's module, where it is a function of its name with ``_command`` behind it, and a line."""

    module: str
    help: str


SECTIONS: dict[str, dict[str, Command]] = {
    "Set up": {
        "init": Command("init", "Make a store, or bring an older one up to date."),
        "migrate": Command(
            "migrate", "Make the changes that this version needs, or show their SQL."
        ),
        "doctor": Command("doctor", "What is wrong with the store, its database, this machine."),
        "completion": Command("completion", "Completion of commands for bash, zsh and fish."),
    },
    "Run": {
        "run": Command("run", "Run a pipeline: every entity that is due."),
        "plan": Command("recovery", "What there is to recover, and in which order."),
        "recover": Command("recovery", "Do what the plan says."),
        "prioritise": Command("recovery", "Have entities recovered before others, or after."),
    },
    "Look": {
        "status": Command("status", "How it stands; with --check, for cron."),
        "lag": Command("coverage", "How far streams are behind, the furthest first."),
        "gaps": Command("coverage", "The holes in the coverage of streams."),
        "coverage": Command("coverage", "The event time of a stream that is wholly processed."),
        "failures": Command("failures", "The items that were put aside."),
        "leases": Command("listings", "Who is at work, and who was."),
        "windows": Command(
            "listings", "Windows that are not finished: their cursors, their workers."
        ),
        "orphans": Command("listings", "Work that was begun and that nobody is at."),
        "operations": Command("listings", "Operations that run once, with their attempts."),
        "items": Command("listings", "The ids that are committed to a stream."),
        "explain": Command("explain", "Why an item was processed or skipped, with the evidence."),
        "get": Command("states", "The checkpoint of a key: state, counters, times."),
        "history": Command("states", "The states that a key has and had."),
        "diff": Command("states", "Where two versions of a state differ."),
        "savepoints": Command("travel", "The savepoints to which one can rewind."),
        "outbox": Command("outbox", "The messages that wait to be sent, or failed for good."),
        "audit": Command("audit", "Rewinds, resets, replays and the like: who, when, why."),
        "health": Command("health", "Lag, efficiency, orphans, recovery time and alerts."),
        "metrics": Command("metrics", "The figures of a store for Prometheus."),
        "storage": Command("storage", "Rows and bytes of each kind of record."),
        "ui": Command("ui", "The dashboard of a store, in a browser."),
    },
    "Mend": {
        "retry": Command("mend", "Have failed items tried again."),
        "skip": Command("mend", "Give failed items up for good."),
        "quarantine": Command("mend", "Withhold an item until it is retried."),
        "readmit": Command("recovery", "Let entities out of quarantine."),
        "break-lease": Command("recovery", "Take a lease from its holder at once."),
        "redeliver": Command("outbox", "Have messages that failed for good tried again."),
        "backfill": Command("travel", "Have a stretch of time fetched again."),
        "reset": Command("travel", "Take entities or streams back to their beginning."),
        "rewind": Command("travel", "Take entities back to a savepoint, or a state to a version."),
        "savepoint": Command("travel", "Keep how it stands now, to rewind to it later."),
        "fork": Command("travel", "Copy how an entity stands to a new key, to try things on."),
    },
    "Keep": {
        "gc": Command("upkeep", "Drop what is not needed; never what prevents a duplicate."),
        "compact": Command("upkeep", "Pack small ledger segments into large ones."),
        "verify": Command("verify", "Read every record, and name each that is damaged."),
        "upgrade-state": Command("upgrade", "Bring older states to a newer schema."),
        "export": Command("exchange", "Write a pipeline as lines of JSON."),
        "import": Command("exchange", "Read what export wrote."),
    },
    "Prove": {
        "bench": Command("bench", "Measure what checkpoints cost on your own database."),
        "demo": Command("demo", "Mine a git repository under SIGKILL, and prove the result."),
        "drill": Command("drill", "Kill your own pipeline, on copies, and prove the result."),
    },
}
"""Each command by its section and name."""

COMMANDS = {name: command for section in SECTIONS.values() for name, command in section.items()}
"""Each command by its name."""
