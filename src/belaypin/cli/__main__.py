"""``python -m belaypin.cli`` is the same as ``belaypin``."""

from __future__ import annotations

from . import main

main(prog_name="belaypin")
