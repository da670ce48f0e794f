"""What others wrote is as they published it, and comes with its licence."""

from __future__ import annotations

import re
from hashlib import sha256

from belaypin.web.render import FOLDER

VENDOR = FOLDER / "static" / "vendor"


def test_each_file_is_the_published_one() -> None:
    table = (VENDOR / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| \S+ [\d.]+ \| \S+, (\S+) \| ([0-9a-f]{64}) \|$", table, re.M)
    licences = {"README.md", *(licence for _, licence, _ in rows)}
    assert {path.name for path in VENDOR.iterdir()} == licences | {name for name, _, _ in rows}
    for name, licence, digest in rows:
        assert sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
        assert "ermission to use" in (VENDOR / licence).read_text(encoding="utf-8") or (
            "Permission is hereby granted" in (VENDOR / licence).read_text(encoding="utf-8")
        )
