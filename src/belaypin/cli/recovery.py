"""``belaypin plan``, ``recover`` and what belongs to them: what was begun and not ended."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.bulk import act_on
from belaypin.cli.call import Call, Sure, asks_first, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.run import pipeline_of
from belaypin.cli.targets import Target, takes_target, walk
from belaypin.cli.text import path
from belaypin.filters import Filter, Term

__all__ = [
    "break_lease_command",
    "plan_command",
    "prioritise_command",
    "readmit_command",
    "recover_command",
]


@click.command("plan")
@click.option("--pipeline", help="Of this pipeline only.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--verify", is_flag=True, help="Verify first, and list damaged records to repair.")
@on_store("read")
def plan_command(
    call: Call, store: belaypin.Store, pipeline: str | None, limit: int, *, verify: bool
) -> None:
    """What there is to recover, in the order in which it is to be done. Changes nothing."""
    findings = store.verify(pipeline=pipeline) if verify else None
    plan = store.plan(pipeline, limit=limit, findings=findings)
    call.show.record(plan, str(plan))


@click.command("recover")
@click.option("--pipeline", help="Of this pipeline only.")
@click.option(
    "--work", metavar="MODULE:PIPELINE", help="Go on with the work, by this pipeline's functions."
)
@click.option("--limit", type=click.IntRange(min=1), help="Do this many steps only.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan, and do nothing.")
@on_store("write")
def recover_command(
    call: Call,
    store: belaypin.Store,
    *,
    pipeline: str | None,
    work: str | None,
    limit: int | None,
    dry_run: bool,
) -> int | None:
    """Do what the plan says.

    Without --work, what needs none of your code: dead workers are fenced, abandoned operations
    counted as failed, entities that were tried often enough quarantined, and damaged windows
    repaired. Exit 1 if something failed, or is due and left.
    """
    if dry_run:
        plan = store.plan(pipeline)
        call.show.record(plan, str(plan))
        return None
    with call.show.alone():
        worker = None if work is None else pipeline_of(call, work)
        report = store.recover(
            None if worker is None else worker.work,
            pipeline=pipeline if worker is None else worker.name,
            limit=limit,
        )
    call.show.record(report, str(report))
    return 0 if report.ok else NOT_SO


@click.command("prioritise")
@takes_target
@click.option("--to", "priority", type=int, required=True, help="Higher is sooner; 0 is usual.")
@on_store("write")
@asks_first
def prioritise_command(
    call: Call, store: belaypin.Store, *, target: Target, priority: int, sure: Sure
) -> int | None:
    """Have an entity, or those that a FILTER picks, recovered before others, or after them.

    `belaypin plan` and `recover` go by priority first. See it with `belaypin status 'priority>0'`.
    """

    def act(key: belaypin.Key, *, dry_run: bool) -> str:
        if not dry_run:
            store.prioritise(key, priority)
        return f"{path(key)}: priority {'would be ' if dry_run else ''}{priority}"

    return act_on(call, store, target, "prioritise", act, sure)


@click.command("readmit")
@takes_target
@on_store("write")
@asks_first
def readmit_command(call: Call, store: belaypin.Store, *, target: Target, sure: Sure) -> int | None:
    """Let an entity, or those that a FILTER picks, out of quarantine; its failures are forgotten.

    The filter may be state:quarantined. Exit 1 if one is not known.
    """

    def act(key: belaypin.Key, *, dry_run: bool) -> str:
        if not (store.status(key).status != "absent" if dry_run else store.readmit(key)):
            raise belaypin.UsageError("it is not known.")
        return f"{path(key)}: {'would be ' if dry_run else ''}readmitted"

    return act_on(call, store, target, "readmit", act, sure)


@click.command("break-lease")
@takes_target
@click.option("--role", default="main", show_default=True)
@click.option("--reason", required=True, help="Why, for the audit.")
@on_store("write")
@asks_first
def break_lease_command(
    call: Call, store: belaypin.Store, *, target: Target, role: str, reason: str, sure: Sure
) -> int | None:
    """Take the lease of an entity, or those that a FILTER picks, from its holder at once.

    The holder's next write fails and changes nothing; another worker goes on from the last commit.
    The filter is as in `belaypin leases`, such as owner~host7.
    """
    if not target:
        raise belaypin.UsageError("Say whose: a key such as social/user:7, or owner~host7.")
    where = Filter((*target.filter.terms, Term("role", ":", role)))
    owners = {row.key: row.owner for row in walk(store.leases, where)}

    def act(key: belaypin.Key, *, dry_run: bool) -> str:
        if not dry_run:
            store.break_lease(key, role=role, reason=reason)
        return f"{path(key)}: {'would be ' if dry_run else ''}taken from {owners[key]}"

    if not owners:
        raise belaypin.UsageError(f"Nobody holds a lease of the role {role!r} there ({target}).")
    return act_on(call, store, target, "break the lease of", act, sure, keys=list(owners))
