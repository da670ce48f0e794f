"""``belaypin upgrade-state``: bring stored states to a newer schema."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import Call, Sure, asks_first, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.imports import imported

__all__ = ["upgrade_state_command"]


@click.command("upgrade-state")
@click.argument("pipeline")
@click.option("--stream", help="The stream whose states are meant. Default: those of the entities.")
@click.option(
    "--schema", required=True, metavar="MODULE:SCHEMA", help="A belaypin.Schema of yours."
)
@click.option("--type", "kind", metavar="MODULE:TYPE", help="What each state must be then.")
@click.option("--confirm", is_flag=True, help="Instead: drop the originals of what was upgraded.")
@on_store("write")
@asks_first
def upgrade_state_command(
    call: Call,
    store: belaypin.Store,
    *,
    pipeline: str,
    stream: str | None,
    schema: str,
    kind: str | None,
    confirm: bool,
    sure: Sure,
) -> int | None:
    """Bring every older state of one kind in a PIPELINE to a SCHEMA.

    A kind is what the entities have at --stream, or themselves. What a state was before is kept
    until you say --confirm, once the new code has proven itself. Exit 1 if some failed: they stay as
    they are.
    """
    with call.show.alone():
        target = imported(schema, "belaypin.Schema")
        of = object if kind is None else imported(kind, "type")
    if confirm:
        question = f"Drop the originals of states of {pipeline} up to schema {target.version}?"
        if sure({"dry_run": True, "dropped": None}, "would drop originals", question):
            dropped = store.confirm_states(pipeline, target, stream=stream)
            call.show.record({"dry_run": False, "dropped": dropped}, f"{dropped} originals dropped")
        return None
    with call.show.alone():
        preview = store.upcast_states(pipeline, of, target, stream=stream)
    question = f"Upgrade {preview.upcast} states to schema version {target.version}?"
    if not sure(preview, str(preview), question):
        return None
    with call.show.alone():
        report = store.upcast_states(pipeline, of, target, stream=stream, dry_run=False)
    call.show.record(report, str(report))
    return NOT_SO if report.failed else None
