"""``belaypin migrate``: bring a store up to this version."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import Call, shows

__all__ = ["migrate_command"]


@click.command("migrate")
@click.option("--sql", is_flag=True, help="Print the SQL of what is missing, and change nothing.")
@click.option("-n", "--dry-run", is_flag=True, help="Name what is missing, and change nothing.")
@shows
def migrate_command(call: Call, *, sql: bool, dry_run: bool) -> None:
    """Make the changes to a store's tables that this version needs.

    Workers of the version before may go on meanwhile. --sql is for a database whose owner runs such
    changes by hand: each step is a transaction.
    """
    url = call.store_url()
    missing = belaypin.migrations(url)
    is_done = not (sql or dry_run) and bool(missing)
    if is_done:
        with call.store("write"):
            pass
    data = {"done": is_done, "steps": missing}
    if sql:
        call.show.record(data, "\n".join(step.sql for step in missing))
        return
    verb = "done" if is_done else "missing"
    lines = [f"{verb}: {step.version:04} {step.name}" for step in missing]
    call.show.record(data, "\n".join(lines) or "The store is up to date.")
