"""``belaypin plan``, ``recover`` and ``readmit``: what was begun and not ended."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.text import path

__all__ = ["plan_command", "readmit_command", "recover_command"]


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
@click.argument("key", type=KEY)
@on_store("write")
def readmit_command(call: Call, store: belaypin.Store, key: belaypin.Key) -> int:
    """Let an entity out of quarantine, its failures forgotten. Exit 1 if it is not known."""
    done = store.readmit(key)
    text = f"{path(key)} is {'readmitted' if done else 'not known'}."
    call.show.record({"key": key, "readmitted": done}, text)
    return 0 if done else NOT_SO
