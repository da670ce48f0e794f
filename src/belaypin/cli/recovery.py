"""``belaypin plan``, ``recover`` and ``readmit``: what was begun and not ended."""

from __future__ import annotations

from typing import Any

import click

import belaypin
from belaypin.cli.bulk import act_on
from belaypin.cli.call import KEY, Call, Sure, asks_first, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.targets import Target, takes_target
from belaypin.cli.text import path
from belaypin.filters import Filter, Term

__all__ = ["break_lease_command", "plan_command", "readmit_command", "recover_command"]


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
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan, and do nothing.")
@on_store("write")
def recover_command(
    call: Call, store: belaypin.Store, pipeline: str | None, *, dry_run: bool
) -> int | None:
    """Do of the plan what needs none of your code.

    Dead workers are fenced, abandoned operations counted as failed, entities that were tried
    often enough quarantined, and what is damaged repaired. Exit 1 if something that is due is left: for that
    your own loop has to run.
    """
    if dry_run:
        plan = store.plan(pipeline)
        call.show.record(plan, str(plan))
        return None
    report = store.recover(pipeline=pipeline)
    call.show.record(report, str(report))
    return 0 if report.ok else NOT_SO


@click.command("readmit")
@takes_target
@on_store("write")
@asks_first
def readmit_command(
    call: Call, store: belaypin.Store, *, target: Target, sure: Sure
) -> int | None:
    """Let an entity, or those that a FILTER picks, out of quarantine; its failures are forgotten.

    The filter may be state:quarantined. Exit 1 if one is not known.
    """

    def act(key: belaypin.Key, *, dry_run: bool) -> str:
        if not (store.status(key).status != "absent" if dry_run else store.readmit(key)):
            raise belaypin.UsageError("it is not known.")
        return f"{path(key)}: {'would be ' if dry_run else ''}readmitted"

    return act_on(call, store, target, "readmit", act, sure)


@click.command("break-lease")
@click.argument("key", type=KEY)
@click.option("--role", default="main", show_default=True)
@click.option("--reason", required=True, help="Why, for the audit.")
@on_store("write")
@asks_first
def break_lease_command(
    call: Call, store: belaypin.Store, *, key: belaypin.Key, role: str, reason: str, sure: Sure
) -> int | None:
    """Take the lease of an entity from its holder at once.

    The holder's next write fails and changes nothing; another worker goes on from the last commit.
    """

    def act(one: belaypin.Key, *, dry_run: bool) -> dict[str, Any]:
        where = Filter((*Target(one).filter.terms, Term("role", ":", role)))
        held = store.leases(where).rows
        if not held:
            raise belaypin.UsageError(f"nobody holds a lease of the role {role!r} on {path(one)}.")
        token = held[0].token if dry_run else store.break_lease(one, role=role, reason=reason)
        return {"owner": held[0].owner, "token": token}

    return act_on(call, store, Target(key), "break the lease of", act, sure)
