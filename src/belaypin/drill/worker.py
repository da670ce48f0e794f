"""What a drill kills: one run of the user's pipeline on a copy, as a process of its own.

``python worker.py MODULE:PIPELINE STORE_URL ENGINE``

On its standard output it writes a line for each commit that held anything new, and what it was. What
the user's code prints goes to the standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from belaypin.compat import set_environment
from belaypin.testing.gates import on_commits

EFFECT, FAILURE = b"effect\n", b"failure\n"
"""What a commit held: something that took effect, or failures alone."""

_EFFECTS = {"segment.append", "checkpoint.content"}
_FAILURES = {"failure.save"}


def main(arguments: Sequence[str]) -> None:
    """Run it to its end."""
    reference, url, engine = arguments
    told = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(names: Sequence[str]) -> None:
        if not _EFFECTS.isdisjoint(names):
            os.write(told, EFFECT)
        elif not _FAILURES.isdisjoint(names):
            os.write(told, FAILURE)

    set_environment("BELAYPIN_STORE", url)
    on_commits(tell)
    from belaypin.pipeline import load

    pipeline = load(reference)
    pipeline.parts[:] = map(_innocent, pipeline.parts)
    report = pipeline.run(url, engine=engine)
    if report.reason != "complete" or report.entities_held:
        sys.exit(str(report))


def _innocent(part: Any) -> Any:
    """It is not the items that kill this process."""
    retry = msgspec.structs.replace(part.retry, isolate_after=None)
    return msgspec.structs.replace(part, retry=retry)


if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.path[:] = [place for place in sys.path if place != here]  # its neighbours are no modules
    main(sys.argv[1:])
