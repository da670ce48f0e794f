"""Pictures of every page, in both themes and widths: for people to look at.

python -m tests.web.pictures http://127.0.0.1:8086 FOLDER [PAGE ...]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests.services.programs import chromium_programs
from tests.web.browser import NARROW, WIDE, browsing

PAGES = {
    "overview": "/",
    "coverage": "/coverage",
    "orders": "/coverage?pipeline=orders&zoom=30d",
    "shop": "/entity?pipeline=orders&entity=shop:0",
    "items": "/items",
    "streams": "/items?kind=streams&q=stream:posts",
    "ids": "/items?pipeline=stackexchange&entity=user:19&stream=posts",
    "recovery": "/recovery",
    "failures": "/failures",
    "failure": "/failure?id=2",
    "leases": "/leases",
    "storage": "/storage",
    "efficiency": "/efficiency",
    "activity": "/activity",
    "entity": "/entity?pipeline=stackexchange&entity=user:19",
    "state": "/entity?pipeline=stackexchange&entity=user:10&stream=profile",
    "confirm": "/do/replay?error=TimeoutError",
    "final": "/do/skip?error=KeyError",
    "break": "/do/break-lease?pipeline=orders&entity=shop:0",
}


def main() -> None:
    base, folder = sys.argv[1], Path(sys.argv[2])
    wanted = sys.argv[3:] or [*PAGES]
    programs = str(chromium_programs().folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile, browsing(programs, Path(profile)) as browser:
        for name in wanted:
            for theme, size in (("light", WIDE), ("dark", WIDE), ("dark", NARROW)):
                browser.look(theme=theme, size=size)
                browser.open(base + PAGES[name])
                time.sleep(0.7)  # until charts are drawn
                width = "wide" if size is WIDE else "narrow"
                browser.picture(folder / f"{name}-{theme}-{width}.png", whole=True)
                wider = browser.run("return document.documentElement.scrollWidth - innerWidth")
                for line in [
                    *browser.complaints(),
                    *([f"too wide by {wider}"] if wider > 0 else []),
                ]:
                    sys.stdout.write(f"{name} {theme} {width}: {line}\n")


if __name__ == "__main__":
    main()
