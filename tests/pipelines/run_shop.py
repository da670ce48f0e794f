"""Run the shop as a program: python -m tests.pipelines.run_shop URL ENGINE GRACE_S."""

from __future__ import annotations

import json
import sys

from tests.pipelines.shop import shop

if __name__ == "__main__":
    url, engine, grace_s = sys.argv[1:]
    report = shop.run(url, engine=engine, grace_s=float(grace_s))
    sys.stdout.write(json.dumps(report.as_dict()))
    sys.exit(report.exit_code)
