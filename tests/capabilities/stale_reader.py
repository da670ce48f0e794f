"""A process that opened the store long ago: it reads every state, and saves what it has read.

python stale_reader.py URL PIPELINE, then a line on its standard input for each time to do it again.
"""

from __future__ import annotations

import sys

import belaypin
from belaypin import Key


def main(url: str, pipeline: str) -> None:
    with belaypin.open(url) as store:
        query = "SELECT entity FROM belaypin_checkpoint WHERE state IS NOT NULL ORDER BY key_id"
        while sys.stdin.readline():
            entities = [row[0] for row in store.execute(query)]
            for entity in entities:
                found = store.load(Key(pipeline, entity))
                assert found is not None
                assert found.state["Id"] == entity.removeprefix("user:")
                store.save(Key(pipeline, entity), found.state, expected_version=found.version)
            sys.stdout.write("read\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
